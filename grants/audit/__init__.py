"""The record: one hash chain, appended in the transaction of what it tells."""

from grants.audit.chain import Event, record, record_all
from grants.audit.verbs import Mail, Verb

__all__ = ["Event", "Mail", "Verb", "record", "record_all"]
