"""Whose certificates are believed: one answer for all that Stint calls."""

from __future__ import annotations

import ssl
from functools import cache

import certifi


@cache  # reading the roots takes longer than a call
def context() -> ssl.SSLContext:
    """Checks names and certificates, by the well-known roots."""
    return ssl.create_default_context(cafile=certifi.where())
