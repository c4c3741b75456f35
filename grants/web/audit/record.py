"""Put events of the record into words. The record has ids; names are looked up when a page is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeGuard

from django.urls import reverse

from accounts.models import Identity, Subject
from grants import references
from grants.audit.models import AuditEvent
from grants.audit.verbs import About, Verb
from grants.catalog.models import Connection, Resource
from grants.lifecycle.models import RoleBinding
from grants.tokens.models import Credential

_BIGGEST = 2**63 - 1  # the largest id; after tampering a payload may have any number

# Facts whose value is the id of a row, or, with an s at the end, a list of ids.
_KINDS = ("request", "grant", "subject", "resource", "connection", "policy", "binding", "credential", "decision")


class Thing(NamedTuple):
    """A row that an event names: "Request R-17", with its page if it has one."""

    word: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Line:
    """One event as people read it."""

    seq: int
    at: datetime
    verb: str
    who: str  # the subject of the sentence; "" when it needs none
    by: str
    sentence: str
    things: tuple[Thing, ...]
    facts: tuple[tuple[str, str], ...]
    payload: str
    hash: str
    prev: str
    tone: str
    skipped: int  # events left out between this one and the line above

    @property
    def named(self) -> list[Thing]:
        """The first two things, without the subject of the sentence."""
        return [thing for thing in self.things if thing.name != self.who][:2]


def lines(events: Sequence[AuditEvent], *, above: int | None = None) -> list[Line]:
    """Put events into words; names take one query per kind. `above`: the number of the event before the first."""
    read = [(event, _facts(bytes(event.payload))) for event in events]
    names = _Names.of(read)
    told = []
    for event, facts in read:
        told.append(_line(event, facts, names, 0 if above is None else above - event.seq - 1))
        # A restore skips numbers: from the last event that it kept to its own.
        kept = facts.get("kept") if event.verb == Verb.RECORD_RESTORED else None
        above = kept + 1 if isinstance(kept, int) else event.seq
    return told


def _verb_of(event: AuditEvent) -> Verb | None:
    """Find the verb; None where this release does not know it, and then it is shown as stored."""
    return Verb(event.verb) if event.verb in Verb else None


@dataclass(frozen=True, slots=True)
class _Names:
    subjects: Mapping[int, Subject]
    resources: Mapping[int, Resource]
    connections: Mapping[int, Connection]
    bindings: Mapping[int, str]
    credentials: Mapping[int, Credential]

    @classmethod
    def of(cls, read: Iterable[tuple[AuditEvent, Mapping[str, Any]]]) -> _Names:
        wanted: dict[str, set[int]] = {kind: set() for kind in _KINDS}
        for event, facts in read:
            for kind, pk in _mentions(facts):
                wanted[kind].add(pk)
            if actor := _subject_id(event.actor):
                wanted["subject"].add(actor)
        return cls(
            Subject.objects.in_bulk(wanted["subject"]),
            Resource.objects.select_related("connection").in_bulk(wanted["resource"]),
            Connection.objects.in_bulk(wanted["connection"]),
            _roles(wanted["binding"]) if wanted["binding"] else {},
            Credential.objects.in_bulk(wanted["credential"]),
        )

    def actor(self, actor: str) -> str:
        named = references.read(actor)
        if named and named.kind == "subject":
            return self.subjects[named.pk].name if named.pk in self.subjects else actor
        return f"Policy {actor}" if named and named.kind == "policy" else actor.capitalize()

    def thing(self, kind: str, pk: int) -> Thing:
        ref = references.ref(kind, pk) if kind in references.LETTERS else f"number {pk}"
        if kind in ("request", "grant"):
            return Thing(kind.capitalize(), ref, reverse(kind, args=[pk]))
        if kind == "resource":
            resource = self.resources.get(pk)
            name = f"{resource.name} ({resource.connection.slug})" if resource else f"number {pk}"
            return Thing("Resource", name, reverse("resource", args=[pk]) if resource else "")
        if kind == "connection":
            found = self.connections.get(pk)
            return Thing("Connection", found.slug if found else ref, reverse("connections"))
        if kind == "binding":
            return Thing("Role", self.bindings.get(pk, f"number {pk}"), "")
        if kind == "policy":
            return Thing("Policy", ref, reverse("policy"))
        if kind == "credential":
            known = self.credentials.get(pk)
            word = known.get_kind_display().capitalize() if known else "Credential"
            at = reverse("grant", args=[known.grant_id]) if known and known.grant_id else ""
            return Thing(word, known.key_id if known else f"number {pk}", at)
        person = self.subjects.get(pk)
        return Thing("Subject", f"{person.name} ({ref})" if person else ref, "")


def _roles(bindings: Iterable[int]) -> dict[int, str]:
    """ "ROLE of Ada Okafor" for each binding."""
    rows = RoleBinding.objects.in_bulk(bindings)
    known = Identity.objects.select_related("subject").filter(
        external_id__in={row.external_id for row in rows.values()}
    )
    people = {(one.idp_id, one.external_id): one.subject.name for one in known}
    return {
        pk: f"{row.role} of {people.get((row.idp_id, row.external_id), 'somebody who is gone')}"
        for pk, row in rows.items()
    }


def _line(event: AuditEvent, facts: Mapping[str, Any], names: _Names, skipped: int) -> Line:
    mentioned = [mention for mention in _mentions(facts) if mention[0] != "decision"]
    verb = _verb_of(event)
    named = {*_KINDS, *(f"{kind}s" for kind in _KINDS), "items"} - {"decision"}
    return Line(
        seq=event.seq,
        at=event.at,
        verb=event.verb,
        who=_about(event, verb.about if verb else About.ACTOR, mentioned, names),
        by=names.actor(event.actor),
        sentence=verb.sentence if verb else event.verb,
        things=tuple(dict.fromkeys(names.thing(kind, pk) for kind, pk in mentioned[:20])),
        facts=tuple((name, _plain(value)) for name, value in facts.items() if name not in named),
        payload=bytes(event.payload).decode("utf-8", errors="replace"),
        hash=bytes(event.hash).hex(),
        prev=bytes(event.prev).hex(),
        tone=verb.tone if verb else "",
        skipped=max(0, skipped),
    )


def _about(event: AuditEvent, about: About, mentioned: Sequence[tuple[str, int]], names: _Names) -> str:
    if about is About.THING:
        return ""
    subject = next((pk for kind, pk in mentioned if kind == "subject"), None)
    if about is About.SUBJECT and subject:
        return names.thing("subject", subject).name
    return names.actor(event.actor)


def _facts(payload: bytes) -> dict[str, Any]:
    """Read the payload; empty where tampering left no JSON object (verify reports the event)."""
    try:
        facts = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _mentions(facts: Mapping[str, Any]) -> list[tuple[str, int]]:
    """List the rows that an event names, the most informative kind first."""
    found: list[tuple[str, int]] = []
    for kind in _KINDS:
        for value in (facts.get(kind), facts.get(f"{kind}s")):
            found += [(kind, pk) for pk in (value if isinstance(value, list) else [value]) if _is_id(pk)]
        if kind == "resource":
            for item in facts.get("items") or () if isinstance(facts.get("items"), list) else ():
                match = re.fullmatch(r"(\d{1,18}):\w+", str(item))
                found += [("resource", int(match[1]))] if match else []
    return found


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _BIGGEST


def _subject_id(actor: str) -> int | None:
    named = references.read(actor)
    return named.pk if named and named.kind == "subject" else None


def _plain(value: object) -> str:
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
