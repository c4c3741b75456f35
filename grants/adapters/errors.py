"""The errors of calls to other servers.

AdapterError
├── Unavailable   no usable answer: down, slow, 5xx, 429. Change nothing and ask again later.
│   └── Unreadable    the answer cannot be read: not JSON, compressed, too long.
├── Missing       the server says that the thing asked about does not exist (404, 410).
└── Refused       the server says no: wrong credentials, missing rights, a redirect, a bad request.
    ├── Unsupported   Stint does not serve a server of this version.
    └── Withheld      Stint itself says no, without asking the server.
"""

from __future__ import annotations


class AdapterError(Exception):
    """The base of the three kinds; never raised itself. `reason` is a sentence without secrets or the answer's text.

    `code` is the HTTP status, 0 when there was none. `said` is the error code of RFC 6749 §5.2, "" when none came.
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
