"""Pages of service identities: a team's machines, asked for by its members."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import service_identities
from accounts.models import Subject, Team
from grants.audit.models import AuditEvent
from grants.lifecycle.models import Request
from grants.notifications import mail
from grants.policy import versions
from grants.tokens.delivery import base
from grants.tokens.models import Delivery
from tests.cast import POLICY, Cast
from tests.tokens.scene import WORKERS, asks_for, machine, working
from tests.web.conftest import SignIn


@pytest.fixture
def worker(cast: Cast) -> Subject:
    versions.apply(POLICY + WORKERS, by=None)
    return machine("ingest", cast.ada)


def test_added_by_a_member(cast: Cast, sign_in: SignIn) -> None:
    browser = sign_in(cast.ada)
    assert "No machine yet" in browser.get("/services").text
    team = Team.objects.get(slug="ingest")
    answer = browser.post("/services", {"name": "etl worker", "team": team.pk}, follow=True)
    assert "etl worker" in answer.text
    again = browser.post("/services", {"name": "etl worker", "team": team.pk})
    assert again.status_code == 422
    assert "already" in again.text
    assert 'value="etl worker"' in again.text  # nothing typed is lost


@pytest.mark.parametrize("name", ["", "   "])
def test_without_a_name(cast: Cast, sign_in: SignIn, name: str) -> None:
    team = Team.objects.get(slug="ingest")
    assert sign_in(cast.ada).post("/services", {"name": name, "team": team.pk}).status_code == 422
    assert not Subject.objects.filter(kind="service").exists()


def test_another_team_is_not_to_choose(cast: Cast, sign_in: SignIn) -> None:
    other = Team.objects.get(slug="platform")
    assert sign_in(cast.ada).post("/services", {"name": "x", "team": other.pk}).status_code == 422
    assert sign_in(cast.priya).post("/services", {"name": "x", "team": other.pk}).status_code == 302  # an admin


def test_seen_by_its_team_admins_and_auditors(cast: Cast, sign_in: SignIn, worker: Subject) -> None:
    for subject, status in (
        (cast.ben, 200),
        (cast.priya, 200),
        (cast.olga, 200),
        (cast.oscar, 404),
        (cast.chiara, 404),
    ):
        assert sign_in(subject).get(f"/services/{worker.pk}").status_code == status
    assert "etl worker" not in sign_in(cast.oscar).get("/services").text
    assert sign_in(cast.olga).post(f"/services/{worker.pk}/switch", {"to": "off"}).status_code == 403
    assert sign_in(cast.oscar).post(f"/services/{worker.pk}/switch", {"to": "off"}).status_code == 404
    assert sign_in(cast.ada).get(f"/services/{cast.ben.pk}").status_code == 404  # a person is none


def test_asked_for_on_its_behalf(cast: Cast, sign_in: SignIn, worker: Subject) -> None:
    browser = sign_in(cast.ada)
    form = browser.get(f"/requests/new?for={worker.pk}&item={cast.pool.pk}:work").text
    assert f'<option value="{worker.pk}" selected>' in form
    sent = browser.post(
        "/requests/new",
        {"for": worker.pk, "item": f"{cast.pool.pk}", f"level-{cast.pool.pk}": "work", "length": "60",
         "reason": "The nightly loads run on this pool.", "key": "a" * 32, "do": "send"},
    )  # fmt: skip
    assert sent.status_code == 302
    request = Request.objects.get()
    assert (request.requester, request.beneficiary) == (cast.ada, worker)
    assert request.ref in browser.get(f"/services/{worker.pk}").text


@pytest.mark.parametrize("name", ["etl worker", "Tomasz"])
def test_who_decides_is_told_whose_machine_it_is(cast: Cast, sign_in: SignIn, worker: Subject, name: str) -> None:
    """What is approved is used by its whole team, and a team may call its machine like anybody."""
    service_identities.rename(worker, name, by=cast.ada)
    asked = asks_for(cast, Subject.objects.get(pk=worker.pk), by=cast.ada)
    browser = sign_in(cast.chiara)
    row = browser.get("/inbox").text.partition('<p class="row-title">')[2].partition("</p>")[0]
    assert "Ada" in row
    assert f"asks for <strong>{name}</strong>, a machine of team ingest, to" in row
    page = browser.get(f"/requests/{asked.pk}").text
    assert f"<h1>{name} of team ingest asks to" in page
    assert "a machine of team ingest, asked for by Ada" in page
    (told, _) = mail.messages(AuditEvent.objects.get(verb="request.asked"))
    assert f"on behalf of {name}, a machine of team ingest" in told.body


@pytest.mark.parametrize("whose", ["ben", "nobody", "words"])
def test_only_for_a_machine_of_ones_own(cast: Cast, sign_in: SignIn, worker: Subject, whose: str) -> None:
    named = {"ben": cast.ben.pk, "nobody": 10**17, "words": "me"}[whose]
    assert sign_in(cast.ada).get(f"/requests/new?for={named}&item={cast.pool.pk}").status_code == 404
    assert sign_in(cast.oscar).get(f"/requests/new?for={worker.pk}&item={cast.pool.pk}").status_code == 404


def test_looked_after(cast: Cast, sign_in: SignIn, worker: Subject) -> None:
    browser = sign_in(cast.ada)
    assert browser.post(f"/services/{worker.pk}/rename", {"name": "orders worker"}).status_code == 302
    assert browser.post(f"/services/{worker.pk}/rename", {"name": ""}).status_code == 422
    browser.post(f"/services/{worker.pk}/delivery", {"to": "on"})
    assert base.status_of(worker)
    assert "Deliver no more" in browser.get(f"/services/{worker.pk}").text
    browser.post(f"/services/{worker.pk}/delivery", {"to": "off"})
    assert base.status_of(worker) is None
    browser.post(f"/services/{worker.pk}/switch", {"to": "off"})
    worker.refresh_from_db()
    assert (worker.name, worker.active) == ("orders worker", False)
    page = browser.get(f"/services/{worker.pk}").text
    assert "Switched off" in page
    assert "Request access" not in page
    browser.post(f"/services/{worker.pk}/switch", {"to": "on"})
    worker.refresh_from_db()
    assert worker.active


def test_a_delivery_that_fails_is_told(cast: Cast, sign_in: SignIn, worker: Subject) -> None:
    """Fault: a page that says "delivered" of what never was."""
    base.begin(worker, by=cast.ada)
    page = sign_in(cast.ada).get(f"/services/{worker.pk}").text
    assert f"STINT_TOKEN_DIR/{worker.ref}/" in page
    assert "The last attempt failed" not in page
    Delivery.objects.filter(pk=worker.pk).update(error="No space left on device")
    assert "The last attempt failed: No space left on device." in sign_in(cast.ada).get(f"/services/{worker.pk}").text


def test_what_it_holds(cast: Cast, sign_in: SignIn) -> None:
    grant = working(cast)
    page = sign_in(cast.ada).get(f"/services/{grant.beneficiary_id}").text
    assert f"/grants/{grant.pk}" in page
    assert "work" in sign_in(cast.ada).get("/services").text


def test_the_number_of_queries_does_not_grow_with_the_machines(cast: Cast, sign_in: SignIn) -> None:
    team = Team.objects.get(slug="platform")
    browser = sign_in(cast.priya)
    browser.get("/services")  # the first of a session asks more
    counts = []
    for n in range(2):
        for m in range(1 + 4 * n):
            service_identities.add(team, f"machine {n}-{m}", by=cast.priya)
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/services").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
