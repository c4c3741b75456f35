"""How a call to the outside world can fail, as its callers tell it apart.

AdapterError
├── Unavailable   no usable answer: down, slow, 5xx, 429. Ask again later and change nothing.
│   └── Unreadable    it answered, with something that is no answer: not JSON, compressed, too long.
├── Missing       it answered that the thing asked about is not there (404, 410).
└── Refused       it answered no: credentials, rights, a redirect, a request that it does not take.
    ├── Unsupported   Stint does not serve a server of this version.
    └── Withheld      Stint itself said no, and asked nobody.
"""

from __future__ import annotations


class AdapterError(Exception):
    """Never raised itself. `reason` is a sentence for people, without secrets or the answer's text.

    `code` is the HTTP status that said so, 0 where there was none; `said` the word of RFC 6749 §5.2, if one came.
    """

    def __init__(self, reason: str, code: int = 0, said: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.said = said


class Unavailable(AdapterError):
    pass


class Unreadable(Unavailable):
    pass


class Missing(AdapterError):
    pass


class Refused(AdapterError):
    pass


class Unsupported(Refused):
    pass


class Withheld(Refused):
    pass
