"""The one list of everything that is recorded: its name in the record and its words for people."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Self

_PLAIN, _GOOD, _BAD = "", "granted", "denied"  # tones: states of the design


class About(Enum):
    """What the sentence of an event begins with."""

    ACTOR = auto()  # the person or process that did it
    SUBJECT = auto()  # the subject that the event names
    THING = auto()  # nothing: the sentence stands alone


class Mail(Enum):
    """Who gets a mail when something has happened."""

    NOBODY = auto()
    APPROVERS = auto()  # who can decide on the request now
    REQUESTER = auto()
    HOLDER = auto()  # of the grant; for a service identity, the requester


class Verb(StrEnum):
    """An event's name in the record, its sentence, its tone, what the sentence begins with, and who gets mail."""

    sentence: str
    tone: str
    about: About
    mail: Mail

    def __new__(
        cls, name: str, sentence: str = "", tone: str = _PLAIN, about: About = About.ACTOR, mail: Mail = Mail.NOBODY
    ) -> Self:
        verb = str.__new__(cls, name)
        verb._value_ = name
        verb.sentence, verb.tone, verb.about, verb.mail = sentence, tone, about, mail
        return verb

    REQUEST_ASKED = "request.asked", "asked for access", _PLAIN, About.ACTOR, Mail.APPROVERS
    REQUEST_VOTED = "request.voted", "approved a stage", _PLAIN, About.ACTOR, Mail.APPROVERS
    REQUEST_APPROVED = "request.approved", "approved, access opened", _GOOD, About.ACTOR, Mail.REQUESTER
    REQUEST_GRANTED_BY_POLICY = (
        "request.granted_by_policy", "granted it without a decision, access opened", _GOOD, About.ACTOR, Mail.REQUESTER
    )  # fmt: skip
    REQUEST_DENIED = "request.denied", "denied", _BAD, About.ACTOR, Mail.REQUESTER
    REQUEST_WITHDRAWN = "request.withdrawn", "withdrew the request"
    REQUEST_LAPSED = "request.lapsed", "nobody decided in time", _PLAIN, About.THING, Mail.REQUESTER

    GRANT_ELAPSED = "grant.elapsed", "access ended on time", _PLAIN, About.THING
    GRANT_GIVEN_BACK = "grant.given_back", "gave the access back"
    GRANT_REVOKED = "grant.revoked", "revoked the access", _PLAIN, About.ACTOR, Mail.HOLDER
    GRANT_LEFT = "grant.left", "access ended: the person left", _PLAIN, About.THING
    GRANT_RETIRED = "grant.retired", "access ended: the resource is gone", _PLAIN, About.THING, Mail.HOLDER

    BINDING_GIVEN = "binding.given", "gave the role at the identity provider"
    BINDING_FOUND = "binding.found", "found the role there already"
    BINDING_TAKEN = "binding.taken", "took the role back at the identity provider"
    BINDING_KEPT = "binding.kept", "kept the role: it was there before Stint"
    BINDING_LOST = "binding.lost", "found a role gone that was held before Stint"
    BINDING_LINGERED = "binding.lingered", "found a role that had been taken back, and took it again"

    TOKEN_ISSUED = "token.issued", "issued a service token"
    TOKEN_ROTATED = "token.rotated", "replaced a service token"
    TOKEN_REVOKED = "token.revoked", "revoked a service token"
    DELIVERY_BEGUN = "delivery.begun", "had tokens delivered to a service identity"
    DELIVERY_ENDED = "delivery.ended", "ended the delivery of tokens to a service identity"
    TICKET_MADE = "ticket.made", "went on to the gate"

    GATE_ENTERED = "gate.entered", "entered an orchestrator through the gate"
    GATE_STRAYED = "gate.strayed", "spent a ticket that came without its cookie", _BAD
    GATE_LEFT = "gate.left", "left an orchestrator"
    GATE_REFUSED = "gate.refused", "refused a call", _BAD
    GATE_RUN_STARTED = "gate.run_started", "let a run be started"
    GATE_LOST = "gate.lost", "had no room to keep counts or events"

    CONNECTION_APPLIED = "connection.applied", "changed a connection"
    CATALOG_SYNCED = "catalog.synced", "synced the catalog"
    CATALOG_HELD = "catalog.held", "too much vanished at once: retirement held", _BAD, About.THING

    POLICY_APPLIED = "policy.applied", "put a policy in force"
    POLICY_REFUSED = "policy.refused", "offered a policy that was refused", _BAD

    SUBJECT_CHANGED = "subject.changed", "changed at the identity provider", _PLAIN, About.SUBJECT
    SUBJECT_SIGNED_IN = "subject.signed_in", "signed in"
    SUBJECT_SIGNED_OUT = "subject.signed_out", "signed out"
    SERVICE_ADDED = "service.added", "made a service identity"
    SERVICE_RENAMED = "service.renamed", "renamed a service identity"
    SERVICE_SWITCHED_OFF = "service.switched_off", "switched a service identity off"
    SERVICE_SWITCHED_ON = "service.switched_on", "switched a service identity on"
    RECOVERY_MADE = "recovery.made", "made a recovery code"
    RECOVERY_USED = "recovery.used", "used a recovery code"
    DIRECTORY_SYNCED = "directory.synced", "synced people and teams"
    DIRECTORY_HELD = "directory.held", "too many people vanished at once: held", _BAD, About.THING

    RECORD_RESTORED = "record.restored", "declared that a backup was restored", _BAD
    CREDENTIALS_REVOKED = "credential.all_revoked", "revoked every credential after a restore"
