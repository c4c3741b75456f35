"""The certificate authorities that Stint trusts, the same for every server that it calls.

They are those of the system and of certifi, or those of SSL_CERT_FILE and SSL_CERT_DIR instead, plus those in the file
that STINT_CA_FILE names.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path

import certifi

_own: list[Path] = []


def also(file: Path | None) -> None:
    """Trust the authorities in this file as well, from now on."""
    _own[:] = [file] if file else []
    context.cache_clear()


@cache  # reading the authorities takes longer than a call
def context() -> ssl.SSLContext:
    """Return the TLS context shared by all HTTP connections; it checks certificates and host names."""
    return made()


def made() -> ssl.SSLContext:
    """Make a new TLS context, for protocols other than HTTP: libraries write their protocol names into it."""
    checking = ssl.create_default_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        checking.load_verify_locations(cafile=certifi.where())
    for file in _own:
        checking.load_verify_locations(cafile=file)
    return checking


def unusable(file: str) -> str:
    """Say why no authority can be read from this file; "" when it can be read."""
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return "holds no certificate in PEM"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""
