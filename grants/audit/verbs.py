"""Everything that can happen, as the record names it, and in words for people."""

from __future__ import annotations

from enum import StrEnum


class Verb(StrEnum):
    REQUEST_ASKED = "request.asked"
    REQUEST_VOTED = "request.voted"
    REQUEST_APPROVED = "request.approved"
    REQUEST_DENIED = "request.denied"
    REQUEST_WITHDRAWN = "request.withdrawn"
    REQUEST_LAPSED = "request.lapsed"

    GRANT_ELAPSED = "grant.elapsed"
    GRANT_GIVEN_BACK = "grant.given_back"
    GRANT_REVOKED = "grant.revoked"
    GRANT_LEFT = "grant.left"
    GRANT_RETIRED = "grant.retired"

    BINDING_GIVEN = "binding.given"
    BINDING_FOUND = "binding.found"
    BINDING_TAKEN = "binding.taken"
    BINDING_KEPT = "binding.kept"
    BINDING_LOST = "binding.lost"
    BINDING_LINGERED = "binding.lingered"

    TOKEN_ISSUED = "token.issued"
    TOKEN_ROTATED = "token.rotated"
    TOKEN_REVOKED = "token.revoked"
    DELIVERY_BEGUN = "delivery.begun"
    DELIVERY_ENDED = "delivery.ended"
    TICKET_MADE = "ticket.made"

    GATE_ENTERED = "gate.entered"
    GATE_STRAYED = "gate.strayed"
    GATE_LEFT = "gate.left"
    GATE_REFUSED = "gate.refused"
    GATE_RUN_STARTED = "gate.run_started"
    GATE_LOST = "gate.lost"

    CONNECTION_APPLIED = "connection.applied"
    CATALOG_SYNCED = "catalog.synced"
    CATALOG_HELD = "catalog.held"

    POLICY_APPLIED = "policy.applied"
    POLICY_REFUSED = "policy.refused"

    SUBJECT_ADDED = "subject.added"
    SUBJECT_CHANGED = "subject.changed"
    SUBJECT_LEFT = "subject.left"
    SUBJECT_SIGNED_IN = "subject.signed_in"
    SUBJECT_SIGNED_OUT = "subject.signed_out"
    SIGN_IN_REFUSED = "subject.sign_in_refused"
    SERVICE_ADDED = "service.added"
    SERVICE_RENAMED = "service.renamed"
    SERVICE_SWITCHED_OFF = "service.switched_off"
    SERVICE_SWITCHED_ON = "service.switched_on"
    ROLE_GIVEN = "role.given"
    ROLE_TAKEN = "role.taken"
    RECOVERY_MADE = "recovery.made"
    RECOVERY_USED = "recovery.used"
    DIRECTORY_SYNCED = "directory.synced"
    DIRECTORY_HELD = "directory.held"

    RECORD_RESTORED = "record.restored"
    CREDENTIALS_REVOKED = "credential.all_revoked"


SENTENCES: dict[Verb, str] = {
    Verb.REQUEST_ASKED: "asked for access",
    Verb.REQUEST_VOTED: "approved a stage",
    Verb.REQUEST_APPROVED: "approved, access opened",
    Verb.REQUEST_DENIED: "denied",
    Verb.REQUEST_WITHDRAWN: "withdrew the request",
    Verb.REQUEST_LAPSED: "nobody decided in time",
    Verb.GRANT_ELAPSED: "access ended on time",
    Verb.GRANT_GIVEN_BACK: "gave the access back",
    Verb.GRANT_REVOKED: "revoked the access",
    Verb.GRANT_LEFT: "access ended: the person left",
    Verb.GRANT_RETIRED: "access ended: the resource is gone",
    Verb.BINDING_GIVEN: "gave the role at the identity provider",
    Verb.BINDING_FOUND: "found the role there already",
    Verb.BINDING_TAKEN: "took the role back at the identity provider",
    Verb.BINDING_KEPT: "kept the role: it was there before Stint",
    Verb.BINDING_LOST: "found a role gone that was held before Stint",
    Verb.BINDING_LINGERED: "found a role that had been taken back, and took it again",
    Verb.TOKEN_ISSUED: "issued a service token",
    Verb.TOKEN_ROTATED: "replaced a service token",
    Verb.TOKEN_REVOKED: "revoked a service token",
    Verb.DELIVERY_BEGUN: "had tokens delivered to a service identity",
    Verb.DELIVERY_ENDED: "ended the delivery of tokens to a service identity",
    Verb.TICKET_MADE: "went on to the gate",
    Verb.GATE_ENTERED: "entered an orchestrator through the gate",
    Verb.GATE_STRAYED: "spent a ticket that came without its cookie",
    Verb.GATE_LEFT: "left an orchestrator",
    Verb.GATE_REFUSED: "refused a call",
    Verb.GATE_RUN_STARTED: "let a run be started",
    Verb.GATE_LOST: "had no room to keep counts or events",
    Verb.CONNECTION_APPLIED: "changed a connection",
    Verb.CATALOG_SYNCED: "synced the catalog",
    Verb.CATALOG_HELD: "too much vanished at once: retirement held",
    Verb.POLICY_APPLIED: "put a policy in force",
    Verb.POLICY_REFUSED: "offered a policy that was refused",
    Verb.SUBJECT_ADDED: "became known",
    Verb.SUBJECT_CHANGED: "changed at the identity provider",
    Verb.SUBJECT_LEFT: "left",
    Verb.SUBJECT_SIGNED_IN: "signed in",
    Verb.SUBJECT_SIGNED_OUT: "signed out",
    Verb.SIGN_IN_REFUSED: "was refused at sign-in",
    Verb.SERVICE_ADDED: "made a service identity",
    Verb.SERVICE_RENAMED: "renamed a service identity",
    Verb.SERVICE_SWITCHED_OFF: "switched a service identity off",
    Verb.SERVICE_SWITCHED_ON: "switched a service identity on",
    Verb.ROLE_GIVEN: "got a portal role",
    Verb.ROLE_TAKEN: "lost a portal role",
    Verb.RECOVERY_MADE: "made a recovery code",
    Verb.RECOVERY_USED: "used a recovery code",
    Verb.DIRECTORY_SYNCED: "synced people and teams",
    Verb.DIRECTORY_HELD: "too many people vanished at once: held",
    Verb.RECORD_RESTORED: "declared that a backup was restored",
    Verb.CREDENTIALS_REVOKED: "revoked every credential after a restore",
}
