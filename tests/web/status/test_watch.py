"""Connections, policy, status and metrics: who sees how much of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from grants import clock
from grants.audit.models import AuditHead
from grants.catalog.models import Connection
from grants.due import DueJob, ProcessBeat
from grants.lifecycle import decide
from grants.notifications.models import Cursor
from grants.policy import versions
from grants.policy.yaml_marks import PolicyErrors
from grants.web.status.measures import exposition
from tests.cast import POLICY, Cast
from tests.web.requests.test_requests import signed_in

HIDING = """\
  - name: hush-hush
    match: {name: "skunkworks*"}
    ask: [{team: platform}]
    levels: [view]
    duration: {default: 1h, longest: 2h}
    stages: []
    discoverable: false
"""


class TestConnections:
    def test_health_for_everybody_details_for_admins(self, cast: Cast) -> None:
        Connection.objects.update(error="401 from http://127.0.0.1:1/api")
        others = signed_in(cast.oscar).get("/connections").content.decode()
        assert "prefect-prod" in others
        assert "production" in others
        assert "No complete answer" in others
        assert "http://127.0.0.1:1" not in others
        assert "401" not in others
        admins = signed_in(cast.priya).get("/connections").content.decode()
        assert "401 from http://127.0.0.1:1/api" in admins

    def test_held_and_late(self, cast: Cast, at) -> None:
        client = signed_in(cast.oscar)
        assert "Working" in client.get("/connections").content.decode()
        Connection.objects.update(held=7)
        assert "7 vanished, held" in client.get("/connections").content.decode()
        Connection.objects.update(held=0)
        at(timedelta(hours=2))
        assert "Sync is late" in client.get("/connections").content.decode()
        Connection.objects.update(seen_at=None)
        assert "Not synced yet" in client.get("/connections").content.decode()


class TestPolicy:
    def test_rules_in_words_for_everybody(self, cast: Cast) -> None:
        page = " ".join(signed_in(cast.oscar).get("/policy").content.decode().split())
        assert "deployments-run" in page
        assert "Everybody may ask for" in page
        assert "on deployments." in page
        assert "approved by one of the owners" in page
        assert "for 8 h at most, 30 min unless said otherwise" in page
        assert "owner_tags" not in page
        assert "etl*" not in page

    def test_text_owners_and_versions_for_admins(self, cast: Cast) -> None:
        page = signed_in(cast.olga).get("/policy").content.decode()
        assert "owner_tags: false" in page
        assert "team platform" in page
        assert cast.policy.ref in page

    def test_people_have_names(self, cast: Cast) -> None:
        versions.apply(POLICY.replace("{team: sre}", "{person: {idp: sso, username: chiara}}"), by=None)
        page = signed_in(cast.olga).get("/policy").content.decode()
        assert "Where too few can decide: Chiara" in page
        assert "stand-ins: Chiara" in page
        assert "id-chiara" not in page

    def test_rules_of_hidden_things_are_hidden(self, cast: Cast) -> None:
        versions.apply(POLICY + HIDING, by=None)
        assert "hush-hush" not in signed_in(cast.oscar).get("/policy").content.decode()
        page = signed_in(cast.priya).get("/policy").content.decode()
        assert "hush-hush" in page
        assert "granted without asking anybody" in page

    def test_a_refused_file_is_shown_to_admins_until_a_good_one(self, cast: Cast) -> None:
        with pytest.raises(PolicyErrors):
            versions.apply("version: 1\nrules: nonsense\n", by=None)
        page = signed_in(cast.priya).get("/policy").content.decode()
        assert "A newer file was refused" in page
        assert "line 2" in page
        assert "A newer file was refused" not in signed_in(cast.ada).get("/policy").content.decode()
        versions.apply(POLICY, by=None)
        assert "A newer file was refused" not in signed_in(cast.priya).get("/policy").content.decode()


class TestStatus:
    @pytest.mark.parametrize("who", ["ada", "chiara", "oscar"])
    def test_others_are_refused(self, cast: Cast, who: str) -> None:
        assert signed_in(getattr(cast, who)).get("/status").status_code == 403

    def test_asks_little(self, cast: Cast) -> None:
        client = signed_in(cast.olga)
        client.get("/status")
        with CaptureQueriesContext(connection) as asked:
            client.get("/status")
        assert len(asked) <= 16, "\n".join(query["sql"] for query in asked.captured_queries)

    def test_counts(self, cast: Cast, at) -> None:
        decide.approve(cast.asks(), by=cast.chiara)
        cast.asks(cast.ben)
        client = signed_in(cast.olga)
        assert "1 grant live, 1 request waiting" in client.get("/status").content.decode()
        at(timedelta(days=30))
        assert "0 grants live, 0 requests waiting" in client.get("/status").content.decode()

    def test_says_that_no_worker_is_alive(self, cast: Cast, at) -> None:
        client = signed_in(cast.priya)
        assert "No worker is alive" in client.get("/status").content.decode()
        ProcessBeat.objects.create(name="worker here:1", at=clock.now(), version="0.1.0")
        page = client.get("/status").content.decode()
        assert "No worker is alive" not in page
        assert "worker here:1" in page
        at(timedelta(minutes=2))
        page = client.get("/status").content.decode()
        assert "No worker is alive" in page
        assert "Silent" in page

    def test_a_gate_is_shown_and_does_nobodys_work(self, cast: Cast, at) -> None:
        """Fault: any beat counts as a worker's."""
        ProcessBeat.objects.create(name="gate east-1", at=clock.now(), version="0.1.0")
        client = signed_in(cast.priya)
        page = client.get("/status").content.decode()
        assert "gate east-1" in page
        assert "No worker is alive" in page
        assert "No Celery worker is alive" in client.get("/").content.decode()
        assert "Silent" not in page
        told = exposition(clock.now()).decode()
        assert 'stint_process_version{process="gate east-1",version="0.1.0"} 1.0' in told
        at(timedelta(minutes=2))
        assert "Silent" in client.get("/status").content.decode()

    def test_overdue_work(self, cast: Cast, at) -> None:
        DueJob.objects.create(name="sync:prefect-prod", due_at=clock.now())
        at(timedelta(minutes=5))
        assert "Overdue" in signed_in(cast.olga).get("/status").content.decode()

    def test_mail_that_nobody_has_to_send_is_not_overdue(self, cast: Cast, at) -> None:
        """Its row is due from the last time on; without an unread event no sweeper takes it up."""
        DueJob.objects.exclude(name="mail").delete()
        Cursor.objects.update(seq=AuditHead.objects.get().seq)
        at(timedelta(minutes=5))
        page = signed_in(cast.olga).get("/status").content.decode()
        assert "nothing to do" in page
        assert "Overdue" not in page
        assert "stint_due_job_oldest_seconds 0" in exposition(clock.now()).decode()
        cast.asks()
        at(timedelta(minutes=10))
        assert "Overdue" in signed_in(cast.olga).get("/status").content.decode()


class TestMetrics:
    @pytest.fixture
    def token(self, settings) -> str:
        settings.ENV = settings.ENV.model_copy(update={"metrics_token": SecretStr("s3cret-of-the-scraper")})
        return "s3cret-of-the-scraper"

    def test_bearer(self, cast: Cast, token: str) -> None:
        decide.approve(cast.asks(), by=cast.chiara)
        cast.asks(cast.ben)
        answer = Client().get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        told = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.content.decode())
            for sample in family.samples
        }
        assert told["stint_grants_live",] == 1
        assert told["stint_requests_pending",] == 1
        assert told["stint_audit_seq",] > 0
        assert ("stint_sync_age_seconds", "connection", "prefect-prod") in told
        assert "Ada" not in answer.content.decode()

    @pytest.mark.parametrize(
        "header",
        ["Bearer ", "Bearer wrong", "Bearer s3cret-of-the-scrape", "Basic czM=", "", "Bearer ünïcode"],
    )
    def test_anything_else_is_401(self, cast: Cast, token: str, header: str) -> None:
        answer = Client().get("/metrics", headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Bearer")

    def test_no_token_set_means_no_token_fits(self, cast: Cast) -> None:
        for header in ("Bearer ", "Bearer None", "Bearer"):
            assert Client().get("/metrics", headers={"Authorization": header}).status_code == 401

    def test_asks_little(self, cast: Cast) -> None:
        with CaptureQueriesContext(connection) as asked:
            exposition(clock.now())
        assert len(asked) <= 10, "\n".join(query["sql"] for query in asked.captured_queries)

    def test_people(self, cast: Cast) -> None:
        assert signed_in(cast.priya).get("/metrics").status_code == 200
        assert signed_in(cast.olga).get("/metrics").status_code == 200
        assert signed_in(cast.ada).get("/metrics").status_code == 403
