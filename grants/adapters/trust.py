"""Whose certificates are believed: one answer for all that Stint calls.

The system's authorities and the well-known ones (certifi), or those of SSL_CERT_FILE and SSL_CERT_DIR in their place,
as everywhere; beside them those of the file that a process is started with (STINT_CA_FILE).
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path

import certifi

_own: list[Path] = []


def also(file: Path | None) -> None:
    """Believe the authorities of this file, too, from now on."""
    _own[:] = [file] if file else []
    context.cache_clear()


@cache  # reading the authorities takes longer than a call
def context() -> ssl.SSLContext:
    """The one of all HTTP connections; checks certificates and names."""
    return made()


def made() -> ssl.SSLContext:
    """A new one, for what is not HTTP: libraries write into it what they speak."""
    checking = ssl.create_default_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        checking.load_verify_locations(cafile=certifi.where())
    for file in _own:
        checking.load_verify_locations(cafile=file)
    return checking


def unusable(file: str) -> str:
    """Why no authority can be read from this file; "" if they can."""
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return "holds no certificate in PEM"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""
