"""The spellings of an id: everything that an orchestrator has is known by a UUID."""

from __future__ import annotations

import re

UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_WITHOUT_HYPHENS = 32


def canonical_id(text: object) -> str | None:
    """Spell an id the one way in which ids are compared; None for what is no id."""
    if not isinstance(text, str):
        return None
    if len(text) == _WITHOUT_HYPHENS:
        text = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return text.lower() if UUID.fullmatch(text) else None
