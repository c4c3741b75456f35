"""The sentences of the catalog for a person whose action was refused."""

from __future__ import annotations

from enum import unique

from accounts.errors import Sentence


@unique
class Says(Sentence):
    KIND_CHANGED = "{slug} is of another kind already; give the new orchestrator a slug of its own."
    HOST_TAKEN = "{host} is the host of {slug} already, which the file does not name."
