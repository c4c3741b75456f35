"""Other people's text, made fit for a database row and for a screen."""

from __future__ import annotations

import re

# PostgreSQL takes no NUL and no lone surrogate; control characters break lines of logs and mail; the
# bidirectional ones make one name look like another.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str, longest: int, *, lines: bool = False) -> str:
    """`text`, unfit characters replaced by U+FFFD, at most `longest` characters; one line unless `lines`."""
    fit = _UNFIT.sub("\ufffd", text.replace("\r\n", "\n"))
    if not lines:
        fit = " ".join(fit.split())
    return fit if len(fit) <= longest else fit[: longest - 1] + "…"
