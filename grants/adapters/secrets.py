"""Resolve references to secrets: the database and the policy files hold the reference, never the secret."""

from __future__ import annotations

import os
import re
from pathlib import Path

from grants.adapters.errors import Unavailable

_MOST = 64 * 1024  # bytes of a secret file; more is a mistake


class NoSecret(Unavailable):
    """The reference leads to no usable secret. No server was asked, so nothing may change."""


def resolve_secret(ref: str) -> str:
    """Return the secret at `env:NAME` or `file:/absolute/path`, without white space around it.

    Raises NoSecret. Its text holds the variable's name or the path, and never the secret, not even when the setting
    holds the secret itself instead of a reference.
    """
    scheme, _, place = ref.partition(":")
    if scheme == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", place):
        where, secret = f"the environment variable {place}", os.environ.get(place)
        if secret is None:
            raise NoSecret(f"The secret in {where} is not set.")
    elif scheme == "file" and place.startswith("/"):
        where, secret = f"the file {place}", _content(place)
    else:
        raise NoSecret("A secret is given as env:NAME or as file:/absolute/path.")
    secret = secret.strip()
    if not secret:
        raise NoSecret(f"The secret in {where} is empty.")
    if any(ord(char) < 32 or ord(char) == 127 for char in secret):
        raise NoSecret(f"The secret in {where} has a line break or another control character inside.")
    return secret


def _content(place: str) -> str:
    try:
        with Path(place).open("rb") as file:
            raw = file.read(_MOST + 1)
        if len(raw) > _MOST:
            raise NoSecret(f"The file {place} is too large for a secret.")
        return raw.decode()
    except OSError as error:
        raise NoSecret(f"The file {place} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:  # the text of this error quotes the bytes
        raise NoSecret(f"The file {place} is not UTF-8 text.") from None
