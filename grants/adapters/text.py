"""Make text from other servers safe to store in a database row and to show on a page."""

from __future__ import annotations

import re

# PostgreSQL cannot store NUL or a lone surrogate. Control characters break lines of logs and mail. Bidirectional
# control characters make one name look like another.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str, longest: int, *, lines: bool = False) -> str:
    """Return `text` with unsafe characters replaced by U+FFFD, cut to `longest` characters; one line unless `lines`."""
    fit = _UNFIT.sub("\ufffd", text.replace("\r\n", "\n"))
    if not lines:
        fit = " ".join(fit.split())
    return fit if len(fit) <= longest else fit[: longest - 1] + "…"
