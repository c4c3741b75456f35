"""Whose tokens are delivered, when, and what is said of it, whichever way they go."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db.models import QuerySet

from accounts.errors import NotAllowed
from grants import clock, due, sweeper, tasks
from grants.audit.models import AuditEvent
from grants.due import DueJob
from grants.lifecycle import decide
from grants.lifecycle.models import Grant
from grants.policy import versions
from grants.tokens import issue
from grants.tokens.delivery import base, files
from grants.tokens.models import Credential, Delivery
from tests.cast import POLICY, Cast
from tests.tokens.delivery.conftest import delivered, file_of
from tests.tokens.scene import WORKERS, asks_for, machine

pytestmark = pytest.mark.django_db

type At = Callable[[datetime | timedelta | None], datetime]


def test_due_when_access_opens_and_the_secret_is_in_no_message(
    folder: Path, cast: Cast, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the approval to the file: the sweeper publishes the row's name, and nothing else."""
    versions.apply(POLICY + WORKERS, by=None)
    worker = machine("ingest", cast.ada)
    base.begin(worker, by=cast.ben)
    assert base.status_of(worker)
    due.done(f"token:{worker.pk}", again=timedelta(hours=1))
    DueJob.objects.exclude(name=f"token:{worker.pk}").update(due_at=clock.now() + timedelta(hours=1))
    grant = decide.approve(asks_for(cast, worker, by=cast.ada), by=cast.chiara).grants.get()
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(tasks.run, "apply_async", lambda **message: sent.append(message))
    assert sweeper.publish() == 1
    assert sent == [{"args": [f"token:{worker.pk}"], "retry": False}]
    tasks.run(*json.loads(json.dumps(sent[0]["args"])))
    assert delivered(grant)
    again = DueJob.objects.get(name=f"token:{worker.pk}")
    assert again.lease_until is None
    assert timedelta(seconds=50) < again.due_at - clock.now() <= timedelta(minutes=1)


def test_a_message_without_its_row_delivers_nothing(folder: Path, cast: Cast, job: Grant) -> None:
    """Late, delivered twice, or put into the broker by somebody else: for a machine whose team said no, or a person."""
    base.begin(job.beneficiary, by=cast.ada)
    base.end(job.beneficiary, by=cast.ada)
    mine = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    for grant in (job, mine):
        tasks.run(f"token:{grant.beneficiary_id}")
        assert not file_of(grant).exists()
    assert not Credential.objects.exists()


@pytest.mark.parametrize("act", [issue.revoke, issue.rotate], ids=["revoked", "replaced"])
def test_a_delivered_token_that_ends_is_replaced_at_once(
    folder: Path, cast: Cast, job: Grant, act: Callable[..., object]
) -> None:
    base.begin(job.beneficiary, by=cast.ada)
    tasks.run(f"token:{job.beneficiary_id}")
    assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at > clock.now()
    act(delivered(job), by=cast.ada)
    assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at <= clock.now()


def test_begun_and_ended_by_its_team_and_in_the_record(cast: Cast) -> None:
    worker = machine("ingest", cast.ada)
    for act in (base.begin, base.end):
        for other in (cast.chiara, cast.oscar):
            with pytest.raises(NotAllowed):
                act(worker, by=other)
    with pytest.raises(NotAllowed):
        base.begin(cast.ben, by=cast.ben)  # a person
    base.begin(worker, by=cast.ada)
    base.begin(worker, by=cast.ada)
    base.end(worker, by=cast.priya)
    assert base.status_of(worker) is None
    verbs = AuditEvent.objects.filter(verb__startswith="delivery").values_list("verb", "actor").order_by("seq")
    assert list(verbs) == [("delivery.begun", cast.ada.ref), ("delivery.ended", cast.priya.ref)]


def test_without_a_folder_nothing_is_made(cast: Cast, job: Grant) -> None:
    with pytest.raises(files.NoFolder):
        files.deliver(job.beneficiary_id)
    base.begin(job.beneficiary, by=cast.ada)
    tasks.run(f"token:{job.beneficiary_id}")  # said in the log, tried again
    assert DueJob.objects.get(name=f"token:{job.beneficiary_id}").due_at > clock.now()
    assert not Credential.objects.exists()


def test_what_came_of_it_is_kept_and_told(folder: Path, cast: Cast, job: Grant) -> None:
    """Faults: an error that stays after a success, one that shows a path of the machine, a try that is not told."""
    service = job.beneficiary
    assert base.status_of(service) is None
    base.begin(service, by=cast.ada)
    target = f"STINT_TOKEN_DIR/{service.ref}/"
    assert base.status_of(service) == (target, Delivery.State.WAITING, "", clock.now())

    folder.write_text("where a folder should be")
    tasks.run(f"token:{service.pk}")
    failing = base.status_of(service)
    assert failing
    assert (failing.state, failing.error) == (Delivery.State.FAILING, "Not a directory")
    assert failing.next_try
    assert failing.next_try > clock.now()

    folder.unlink()
    tasks.run(f"token:{service.pk}")
    assert delivered(job)
    assert base.status_of(service) == (target, Delivery.State.DELIVERED, "", clock.now() + files.LOOK_AGAIN)


def test_a_job_without_its_delivery_delivers_nothing_and_goes(folder: Path, cast: Cast, job: Grant) -> None:
    """Whoever can only make a row due has no tokens made. Fault: the due row alone is enough."""
    due.ensure(f"token:{job.beneficiary_id}")
    tasks.run(f"token:{job.beneficiary_id}")
    assert not Credential.objects.exists()
    assert not due.is_known(f"token:{job.beneficiary_id}")


def test_what_is_begun_while_its_job_is_looked_at_goes_on(
    folder: Path, cast: Cast, job: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: a job that found no delivery forgets the one that was begun meanwhile."""
    due.ensure(f"token:{job.beneficiary_id}")
    look = QuerySet.first

    def begin_meanwhile(rows: QuerySet[Delivery]) -> Delivery | None:
        found = look(rows)
        monkeypatch.setattr(QuerySet, "first", look)
        base.begin(job.beneficiary, by=cast.ada)
        return found

    monkeypatch.setattr(QuerySet, "first", begin_meanwhile)
    base.deliver_due(str(job.beneficiary_id))
    assert base.status_of(job.beneficiary)
    tasks.run(f"token:{job.beneficiary_id}")
    assert delivered(job)


def test_a_delivery_without_its_job_can_be_begun_again(folder: Path, cast: Cast, job: Grant) -> None:
    """As a web of the release before leaves it, which knows the job alone. Fault: the page says that it is delivered."""
    base.begin(job.beneficiary, by=cast.ada)
    due.forget(f"token:{job.beneficiary_id}")
    assert base.status_of(job.beneficiary) is None
    base.begin(job.beneficiary, by=cast.ada)
    tasks.run(f"token:{job.beneficiary_id}")
    assert delivered(job)


def test_every_kind_can_be_delivered() -> None:
    """Fault: a kind of the table that no module registers."""
    assert set(base.KINDS) == set(Delivery.Kind)
