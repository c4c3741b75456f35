"""The record: one hash chain. An event is appended in the transaction of the action that it records."""

from grants.audit.chain import Event, record, record_all
from grants.audit.verbs import Mail, Verb

__all__ = ["Event", "Mail", "Verb", "record", "record_all"]
