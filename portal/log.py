"""Structured logs: one JSON object on each line, secrets masked. Free of Django, because the gate uses it, too."""

from __future__ import annotations

import logging
import re
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# Values under these names, and values of these shapes under any name, are masked.
_SECRET_NAME = re.compile(r"secret|password|token|authorization|cookie|code_verifier|api_?key", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"  # credentials in a header
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # JWTs
    r"|(?-i:\bstint[st]?_\w{16,})"  # our own tokens, sessions and tickets; not STINT_GATE_DATABASE_URL
    r"|(?<=://)[^\s:/@]+:[^\s/@]+(?=@)"  # user:password in a URL
)
MASK = "[hidden]"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets, found by the name of the field and by their shape."""
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = MASK
        elif isinstance(value, str):
            event[name] = _SECRET_VALUE.sub(MASK, value)
    return event


def _told_here(record: logging.LogRecord) -> bool:
    """Keep a record, unless portal.request_id logs the same with its reason: a refused request, a database down."""
    status = getattr(record, "status_code", 500)
    return not (record.name.startswith("django.security") or status < 500 or status == 503)


def configure(*, level: str, style: Literal["json", "console"]) -> None:
    """Send the records of structlog and of the standard library through one chain to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, render],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)
    handler.addFilter(_told_here)
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
