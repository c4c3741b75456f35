"""A worker killed exactly at each step of reconcile, one stopped there and woken when all is over; the broker gone for all
of it. Judged at the provider, and in the record."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from pytest_django import DjangoDbBlocker

from accounts.models import Identity
from grants import clock
from grants.audit.models import AuditEvent
from grants.due import ProcessBeat
from grants.lifecycle import access
from grants.lifecycle.models import Grant, RoleBinding
from tests.chaos import judge
from tests.chaos.stage import Stage, staged, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("chaos")]

# In the order in which reconcile comes to them. There is nothing to look at before a role is taken.
STEPS = [
    "leased give",  # before the look
    "looked give",  # before the intent, with what was found
    "intended give",  # before the call
    "called give",  # before it is read back
    "read give",  # before the confirmation's commit
    "confirmed give",
    "intended take",
    "called take",
    "read take",
    "confirmed take",
]


@pytest.fixture
def stage(django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    with staged(django_db_blocker, people=len(STEPS) + 5) as stage:
        yield stage


def test_killed_at_every_step_without_a_broker(stage: Stage) -> None:
    named = dict(zip(stage.people, STEPS, strict=False))
    zombie, had, adjoins, prompt, deleted = stage.people[len(STEPS) :]
    before = {(stage.external[had], stage.role())}
    stage.hold_before(had)
    stage.start_idp()
    stage.keep_workers(2)
    until(lambda: ProcessBeat.objects.count() >= 2, "two workers are there")

    # Somebody who is prompt, while nothing goes wrong but that there is no broker.
    grant = stage.gets(prompt, 2)
    until(lambda: grant.role in stage.idp().held(stage.external[prompt]), "given")
    until(lambda: grant.role not in stage.idp().held(stage.external[prompt]), "taken at its end")
    until(lambda: "binding.taken" in _told(stage, grant), "recorded")
    told = _told(stage, grant)
    assert told["binding.given"] - grant.starts_at < timedelta(seconds=10), "late is what people would be told of"
    assert told["binding.taken"] - grant.ends_at < timedelta(seconds=10)

    # One stops between intent and call; the role is given by another, revoked, taken and looked for again.
    _order(stage, zombie, "intended give", "SIGSTOP")
    late = stage.gets(zombie, 600)
    until(lambda: _reached(stage, zombie, "intended give"), "stopped")
    stopped = _reached(stage, zombie, "intended give")
    stage.start_worker()

    # An extension: it begins where the first one ends.
    first = stage.gets(adjoins, 5)
    second = _adjoining(stage, first, 600)
    kept, gone = stage.gets(had, 3), stage.gets(deleted, 600)
    until(lambda: gone.role in stage.idp().held(stage.external[deleted]), "given")
    stage.delete(deleted)
    stage.ends(gone, revoked=True)

    for person, step in named.items():
        _dies_at(stage, person, step)
        stage.keep_workers(3)
    assert sorted(file.name for file in (stage.folder / "reached").iterdir()) == sorted(
        [f"{step}.{stage.external[person]}" for person, step in [*named.items(), (zombie, "intended give")]]
    )

    until(lambda: stage.role() in stage.idp().held(stage.external[zombie]), "given by another")
    stage.ends(late, revoked=True)
    until(lambda: _cleared(stage, zombie), "taken, and looked for again")
    taken = len(_calls(stage, zombie))
    os.kill(stopped, signal.SIGCONT)
    until(lambda: _calls(stage, zombie)[taken:][:2] == ["POST", "DELETE"], "the late call was made, and undone")
    judge.rest(stage)

    assert kept.role
    judge.all_is_well(stage, before)
    assert "binding.lingered" in _told(stage, late)
    adjoining = [call for call in stage.idp().calls() if call.user == stage.external[adjoins]]
    assert second.starts_at == first.ends_at <= clock.now()
    assert [call.method for call in adjoining if call.before != call.after] == ["POST"]
    for person, step in named.items():
        assert (stage.role() in stage.idp().held(stage.external[person])) == step.endswith("give")


def _dies_at(stage: Stage, person: str, step: str) -> None:
    """A worker is killed there, at this person's role."""
    if step.endswith("give"):
        _order(stage, person, step, "SIGKILL")
        stage.gets(person, 600)
    else:
        taken = stage.gets(person, 600)
        until(lambda: taken.role in stage.idp().held(stage.external[person]), "given")
        _order(stage, person, step, "SIGKILL")
        stage.ends(taken, revoked=False)
    until(lambda: _reached(stage, person, step) > 0, f"a worker came to: {step}")


def _order(stage: Stage, person: str, step: str, sig: str) -> None:
    part = stage.folder / "orders" / "part"
    part.write_text(f"{step} {sig}")
    part.replace(stage.folder / "orders" / stage.external[person])


def _reached(stage: Stage, person: str, step: str) -> int:
    """The pid of the worker that came there; 0 when none has."""
    file = stage.folder / "reached" / f"{step}.{stage.external[person]}"
    return int(file.read_text() or 0) if file.exists() else 0


def _told(stage: Stage, grant: Grant) -> dict[str, datetime]:
    """What the record says of this grant's role, and when it first did."""
    binding = RoleBinding.objects.get(role=grant.role, external_id=_external(grant))
    events = AuditEvent.objects.filter(verb__startswith="binding.").order_by("-seq")
    return {event.verb: event.at for event in events if json.loads(bytes(event.payload))["binding"] == binding.pk}


def _external(grant: Grant) -> str:
    return Identity.objects.get(subject=grant.beneficiary_id).external_id


def _adjoining(stage: Stage, first: Grant, seconds: float) -> Grant:
    """A grant whose window begins where that of the first ends, as an extension's does."""
    real = access.open_grants
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            access, "open_grants", lambda request, *, now, drain: real(request, now=first.ends_at, drain=drain)
        )
        name = next(name for name, subject in stage.subjects.items() if subject.pk == first.beneficiary_id)
        return stage.gets(name, seconds)


def _cleared(stage: Stage, person: str) -> bool:
    row = RoleBinding.objects.get(external_id=stage.external[person])
    return (row.phase, row.found_before, row.due_at) == ("absent", None, None)


def _calls(stage: Stage, person: str) -> list[str]:
    return [call.method for call in stage.idp().calls() if call.user == stage.external[person]]
