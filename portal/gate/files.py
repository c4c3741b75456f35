"""How many files the gate may have open: each connection is one, and what a system gives at first is little."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

_UNKNOWN = 2048  # where no system says


def most_files() -> int:
    """Raise the soft limit to the hard one, and tell what it is then."""
    try:
        import resource  # noqa: PLC0415 (there is none on Windows)
    except ImportError:
        return _UNKNOWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:  # a system whose own bound is below its hard limit
            log.warning("files_not_raised", soft=soft, error=str(error))
        else:
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
