"""Wiring: settings, urls, processes."""

__version__ = "0.1.0"
