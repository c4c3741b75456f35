"""Raise the number of files that the gate may have open: each connection needs one, and the default is low."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

_UNKNOWN = 2048  # when the system does not say


def most_files() -> int:
    """Raise the soft limit to the hard one; return the limit in effect."""
    try:
        import resource  # noqa: PLC0415 (there is none on Windows)
    except ImportError:
        return _UNKNOWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:  # the system allows less than its hard limit
            log.warning("files_not_raised", soft=soft, error=str(error))
        else:
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
