"""Text that people type for others to read: reasons, notes, names. Pure functions."""

from __future__ import annotations

import unicodedata

_MAY_BE_UNSEEN = "\n\r\t\u200c\u200d"  # line ends, tabs; what joins and parts letters in Persian and in emojis
_BLANK_LETTERS = (
    "\u115f\u1160\u2800\u3164\uffa0\U0001d159"  # letters and symbols by their category, of which nothing is drawn
)
_NEVER_SEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, bidirectional and other formats, separators
_NOT_COUNTED = _NEVER_SEEN | {"Mn", "Me"}  # a mark is part of the letter before it


def hidden_in(text: str) -> str:
    """Name the first character that cannot be seen and may change how others read the text, as U+202E; "" for none.

    The categories are those of the Unicode Standard, section 4.5.
    """
    found = (one for one in text if one not in _MAY_BE_UNSEEN and unicodedata.category(one) in _NEVER_SEEN)
    return next((f"U+{ord(one):04X}" for one in found), "")


def seen_in(text: str) -> int:
    """How many characters of a text can be seen; each run of blanks between them counts as one."""
    drawn = "".join(" " if one in _BLANK_LETTERS else one for one in text)
    return sum(unicodedata.category(one) not in _NOT_COUNTED for one in " ".join(drawn.split()))
