"""The record: one hash chain, appended in the transaction of what it tells."""

from grants.audit.chain import Event, record, record_all
from grants.audit.verbs import Verb

__all__ = ["Event", "Verb", "record", "record_all"]
