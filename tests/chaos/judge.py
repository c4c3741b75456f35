"""What must be so when all has come to rest, by the provider's own state and the database's; Stint is not asked."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import psycopg
from django.conf import settings

from grants.audit.verify import verify
from tests.chaos.stage import Stage, until

# Anything that is under way, or due, or waits for its recheck.
RESTLESS = """
SELECT count(*) FROM grants_rolebinding WHERE lease IS NOT NULL OR owed_since IS NOT NULL OR due_at <= stint_now()
    OR (phase = 'absent' AND found_before IS NOT NULL) OR recheck_at > stint_now()
"""
OVER = """
SELECT count(*) FROM grants_grant WHERE closed_at IS NULL AND coalesce(ended_at, ends_at) <= stint_now()
"""
LIVE = """
SELECT i.external_id, g.role FROM grants_grant g JOIN accounts_identity i ON i.subject_id = g.beneficiary_id
WHERE g.starts_at <= stint_now() AND stint_now() < coalesce(g.ended_at, g.ends_at)
"""


def rest(stage: Stage, seconds: float = 150) -> None:
    """Until nothing is due any more."""

    def still() -> bool:
        with psycopg.connect(stage.superuser) as db:
            return not any((db.execute(query).fetchone() or (1,))[0] for query in (RESTLESS, OVER))

    until(still, "everything at rest", seconds)


def roles_are_right(stage: Stage, before: set[tuple[str, str]]) -> None:
    """At the provider: what a live grant wants or was there before, and nothing else. `before` is (person, role)."""
    idp = stage.idp()
    with psycopg.connect(stage.superuser) as db:
        live = {(person, role) for person, role in db.execute(LIVE).fetchall() if person in idp.users}
    held = {(person, role) for person in idp.users for role in idp.held(person)}
    still_there = {(person, role) for person, role in before if person in idp.users}
    assert not (extra := held - live - still_there), f"roles that no live grant wants: {extra}"
    assert not (absent := live - held), f"roles that a live grant wants are missing: {absent}"
    assert not (lost := still_there - held), f"roles held before are lost: {lost}"
    taken = [
        call
        for call in idp.calls()
        if call.method == "DELETE" and any((call.user, role) in before for role in call.roles)
    ]
    assert not taken, f"Stint asked to take what was there before: {taken}"


def bindings_are_at_rest(stage: Stage) -> None:
    with psycopg.connect(stage.superuser) as db:
        left = db.execute(
            "SELECT id, phase, lease, owed_since, attempts, last_error FROM grants_rolebinding WHERE lease IS NOT NULL"
            " OR owed_since IS NOT NULL OR attempts <> 0 OR last_error <> '' OR phase NOT IN ('absent', 'present', 'kept')"
            " OR (phase = 'absent' AND found_before IS NOT NULL)"
        ).fetchall()
    assert not left, left


def record_is_whole(stage: Stage) -> None:
    """The chain; each move of a binding, request and grant once, in order; and nothing that did not happen."""
    env = {"audit_key_file": stage.folder / "audit.pem", "audit_heads_file": stage.folder / "heads.jsonl"}
    settings.ENV = settings.ENV.model_copy(update=env)  # restored by the fixture of_this_worker
    verdict = verify()
    assert verdict.whole, verdict.why
    told: dict[int, list[str]] = defaultdict(list)
    once: Counter[tuple[str, int]] = Counter()
    with psycopg.connect(stage.superuser) as db:
        for verb, payload in db.execute("SELECT verb, payload FROM grants_auditevent ORDER BY seq").fetchall():
            facts = json.loads(payload)
            if verb.startswith("binding."):
                told[facts["binding"]].append(verb)
            elif verb.startswith(("request.", "grant.")):
                once[verb, facts.get("grant") or facts["request"]] += 1
        moved: dict[int, list[str]] = defaultdict(list)
        for binding, verb in db.execute("SELECT binding, verb FROM chaos_moves ORDER BY id").fetchall():
            moved[binding].append(verb)
        happened = Counter(("request.asked", pk) for (pk,) in db.execute("SELECT id FROM grants_request").fetchall())
        happened.update(
            (f"request.{state}", pk)
            for pk, state in db.execute("SELECT id, state FROM grants_request WHERE state <> 'pending'").fetchall()
        )
        happened.update(
            (f"grant.{reason}", pk)
            for pk, reason in db.execute(
                "SELECT id, end_reason FROM grants_grant WHERE closed_at IS NOT NULL"
            ).fetchall()
        )
    assert dict(told) == dict(moved)
    assert once == happened
    assert max(once.values()) == 1


def all_is_well(stage: Stage, before: set[tuple[str, str]]) -> None:
    roles_are_right(stage, before)
    bindings_are_at_rest(stage)
    record_is_whole(stage)
