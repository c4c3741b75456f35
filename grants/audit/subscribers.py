"""Accounts tells what happened to subjects; the record keeps it, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Model

from accounts.models import Subject
from accounts.signals import happened
from grants.audit.chain import Fact, record
from grants.audit.verbs import Verb


def connect() -> None:
    happened.connect(_record, dispatch_uid="grants.audit")


def _record(
    *, verb: str, by: Subject | str | None, subjects: Iterable[Model], facts: Mapping[str, Fact], **_: Any
) -> None:
    record(Verb(verb), by=by or "nobody", on=subjects, **facts)
