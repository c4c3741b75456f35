"""The releases of an orchestrator that Stint serves: none below the floor, those above the newest with a warning."""

from __future__ import annotations

import re
from typing import NamedTuple

_RELEASE = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?P<rest>[0-9A-Za-z.+-]{0,60})")
_BEFORE = re.compile(r"\.?(?:a|b|c|rc|dev|alpha|beta)\d")  # marks a pre-release (PEP 440)

type Release = tuple[int, int, int]


class Releases(NamedTuple):
    """The tested releases of one brand. `too_old` and `too_new` end a sentence for admins."""

    brand: str
    floor: Release
    newest: tuple[int, int]  # every patch release of it counts as tested
    too_old: str
    too_new: str

    def refusal(self, version: str) -> str:
        """Say in a sentence why Stint does not serve this version; "" when it does."""
        release = _release(version)
        if release is None:
            return f"It does not say which version of {self.brand} it is; Stint needs {_dotted(self.floor)} or later."
        if release < self.floor or (release == self.floor and _is_early(version)):
            return f"It is {self.brand} {version}; Stint needs {_dotted(self.floor)} or later: {self.too_old}."
        return ""

    def warning(self, version: str) -> str:
        """Say in a sentence what to expect of a version newer than any tested one; "" for a tested version."""
        release = _release(version)
        if release is None or release[:2] <= self.newest:
            return ""
        tried = _dotted(self.newest)
        return f"{self.brand} {version} is newer than {tried}, the newest that Stint was tested with: {self.too_new}."


def _release(version: str) -> Release | None:
    found = _RELEASE.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _is_early(version: str) -> bool:
    found = _RELEASE.fullmatch(version)
    return found is not None and _BEFORE.match(found["rest"]) is not None


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
