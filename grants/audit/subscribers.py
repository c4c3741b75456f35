"""Record what accounts reports about subjects, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Model

from accounts.models import Subject
from grants.audit.chain import Fact, record
from grants.audit.verbs import Verb


def record_happened(
    *, verb: str, by: Subject | str | None, subjects: Iterable[Model], facts: Mapping[str, Fact], **_: Any
) -> None:
    record(Verb(verb), by=by or "nobody", on=subjects, **facts)
