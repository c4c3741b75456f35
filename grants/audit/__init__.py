"""The record: one hash chain, appended in the transaction of what it tells."""

from grants.audit.chain import record
from grants.audit.verbs import Verb

__all__ = ["Verb", "record"]
