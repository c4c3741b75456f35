"""Bounds on what one caller may have of what all callers share."""
