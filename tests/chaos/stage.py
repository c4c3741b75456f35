"""Everything real but the provider, in processes of its own that can be killed: PostgreSQL, Valkey, workers, the IdP.

The lifecycle's actions are called in the test's process, on the stage's database.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from django.db import DatabaseError, connection
from pytest_django import DjangoDbBlocker

from accounts.errors import Conflict
from accounts.models import IdP, Subject
from grants.audit.export import make_key
from grants.lifecycle import access, ask, decide
from grants.lifecycle.models import Grant, Request
from portal.demo.__main__ import WORKER, base_env
from portal.demo.process import Parts, listens
from portal.embedded import ROLES, EmbeddedError, Postgres, valkey_command
from tests import cast as cast_module
from tests import waiting
from tests.cast import Cast, make_cast
from tests.chaos.idp import Kept
from tests.databases import migrate
from tests.plugin import SETTINGS
from tests.real.prefect import free_port

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
TEAMS = {"ada": "ingest", "ben": "ingest", "chiara": "platform", "tomasz": "platform", "priya": "stint-admins"}

# What each change of a binding must have left in the record: written by the database, beside Stint.
MOVES = """
CREATE TABLE chaos_moves (id bigserial, tx xid8 DEFAULT pg_current_xact_id(), binding bigint, verb text);
CREATE FUNCTION chaos_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE said text := CASE
    WHEN NEW.given_at IS DISTINCT FROM OLD.given_at THEN 'binding.given'
    WHEN NEW.taken_at IS DISTINCT FROM OLD.taken_at THEN 'binding.taken'
    WHEN OLD.phase <> 'present' AND NEW.phase = 'present' THEN 'binding.found'
    WHEN OLD.phase <> 'kept' AND NEW.phase = 'kept' THEN 'binding.kept'
    WHEN OLD.phase = 'kept' AND NEW.phase = 'absent' THEN 'binding.lost'
    WHEN OLD.phase = 'absent' AND NEW.phase = 'absent' AND OLD.lease IS NOT NULL AND NEW.lease IS NULL
        AND NEW.recheck_at > stint_now() AND NEW.recheck_at IS DISTINCT FROM OLD.recheck_at THEN 'binding.lingered'
    END;
BEGIN
    IF said = 'binding.lost' THEN  -- by way of kept, in one transaction
        DELETE FROM chaos_moves WHERE tx = pg_current_xact_id() AND binding = NEW.id AND verb = 'binding.kept';
    END IF;
    IF said IS NOT NULL THEN INSERT INTO chaos_moves (binding, verb) VALUES (NEW.id, said); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE ON grants_rolebinding FOR EACH ROW EXECUTE FUNCTION chaos_moved();
"""


class Stage:
    """One stage. `start` makes it whole; each part can be killed and started again on what it left behind."""

    def __init__(self, people: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stint-chaos-"))
        self.folder.chmod(0o755)
        for name in ("logs", "orders", "reached", "mail"):
            (self.folder / name).mkdir()
        self.parts = Parts(self.folder)
        self.ports = {name: free_port() for name in ("valkey", "idp", "postgres")}
        self.postgres = Postgres(self.folder / "pg", self.ports["postgres"])
        self.people = [f"p{n:02}" for n in range(people)]
        self.issuer = f"http://127.0.0.1:{self.ports['idp']}/realms/test"
        self.external = {name: f"id-{name}" for name in [*TEAMS, "olga", "oscar", *self.people]}
        self.more_env: dict[str, str] = {}
        self.meanwhile: Callable[[], None] = lambda: None  # what goes on while somebody waits for the database
        self.workers = 0
        self.killed: list[str] = []

    # Parts.

    def start_database(self) -> None:
        self.start_postgres()
        self.postgres.roles(dict.fromkeys(ROLES, "test"))
        self.postgres.database("stint")
        make_key(self.folder / "audit.pem")

    def start_postgres(self) -> None:
        # What is committed survives a SIGKILL of the server; only the machine's own crash is not tried here.
        self.postgres.start("-c", "fsync=off", "-c", "max_connections=60")
        assert self.postgres.process
        self.parts.keep("postgres", self.postgres.process)

    def restart_postgres(self) -> None:
        """The old backends need a moment to see that their server is gone."""
        for _ in range(20):
            try:
                self.start_postgres()
            except EmbeddedError:
                time.sleep(0.2)
            else:
                return
        self.start_postgres()

    def start_valkey(self) -> None:
        self.parts.start("valkey", valkey_command(self.ports["valkey"], self.folder), base_env())
        self.parts.wait("valkey", listens(self.ports["valkey"]))

    def start_idp(self) -> None:
        if not (self.folder / "delay").exists():
            self.slow(0.01)
        command = [sys.executable, "-m", "tests.chaos.idp", str(self.ports["idp"]), str(self.folder)]
        self.parts.start("idp", command, base_env())
        self.parts.wait("idp", listens(self.ports["idp"]))

    def slow(self, seconds: float) -> None:
        (self.folder / "delay.part").write_text(str(seconds))
        (self.folder / "delay.part").replace(self.folder / "delay")

    def start_worker(self) -> str:
        """A worker more; its name."""
        self.workers += 1
        name = f"worker{self.workers}"
        command = ["tests.chaos.worker" if word == "portal.celery" else word for word in WORKER]
        self.parts.start(name, [*command, "--hostname", f"{name}@chaos"], self.env())
        return name

    def running(self) -> list[str]:
        """The workers that are there."""
        return [
            name for name, process in self.parts.running.items() if name.startswith("worker") and process.poll() is None
        ]

    def keep_workers(self, count: int) -> None:
        for name in [name for name in self.parts.running if name.startswith("worker")]:
            if self.parts.running[name].poll() is not None:
                self.parts.running.pop(name).wait()
        while len(self.running()) < count:
            self.start_worker()

    def pid(self, name: str) -> int:
        return self.parts.running[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL, to the whole group."""
        process = self.parts.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.killed.append(name.rstrip("0123456789"))

    def env(self) -> dict[str, str]:
        return base_env() | SETTINGS | {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "STINT_DATABASE_URL": self.postgres.url("stint_app", "test", "stint"),
            "STINT_BROKER_URL": f"redis://127.0.0.1:{self.ports['valkey']}/0",
            "STINT_IDP_KIND": "keycloak",
            "STINT_OIDC_ISSUER": self.issuer,
            "STINT_IDP_ADMIN_SECRET_REF": "env:STINT_CHAOS_SECRET",
            "STINT_CHAOS_SECRET": "secret",
            "STINT_CHAOS_DIR": str(self.folder),
            "STINT_AUDIT_KEY_FILE": str(self.folder / "audit.pem"),
            "STINT_AUDIT_HEADS_FILE": str(self.folder / "heads.jsonl"),
            "STINT_MAIL_DIR": str(self.folder / "mail"),
            "STINT_SYNC_SECONDS": "5",
            "STINT_LOG_LEVEL": "INFO",
        } | self.more_env  # fmt: skip

    def stop(self) -> None:
        for process in self.parts.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
        for name in self.running():
            self.kill(name)
        self.parts.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Who and what is there.

    def populate(self) -> None:
        """The cast and more askers, here and at the provider, as its directory would list them."""
        idp = Kept(self.folder)
        groups: dict[str, list[str]] = {}
        for name, pk in self.external.items():
            idp.users[pk] = {"id": pk, "username": name, "enabled": True, "email": f"{name}@example.org",
                             "firstName": name.title(), "lastName": ""}  # fmt: skip
            idp.mapped[pk] = {}  # type: ignore[assignment]
            if name in TEAMS or name in self.people:
                groups.setdefault(TEAMS.get(name, "ingest"), []).append(pk)
        idp.groups = [
            ({"id": slug, "name": slug, "path": f"/{slug}", "subGroupCount": 0}, who) for slug, who in groups.items()
        ]
        idp.save()

    def cast(self) -> Cast:
        IdP.objects.create(slug="sso", kind="keycloak", issuer=self.issuer, client_id="stint")
        made = make_cast()
        self.subjects = {name: cast_module._person(made.idp, name, ["ingest"]) for name in self.people}
        self.made = made
        return made

    def move_to(self, issuer: str, external: dict[str, str]) -> None:
        """Another provider, and who people are there; before anybody has a grant."""
        self.issuer, self.external = issuer, external
        with psycopg.connect(self.superuser) as superuser:
            superuser.execute("SET session_replication_role = replica")  # no event tells of it
            superuser.execute("UPDATE accounts_idp SET issuer = %s", [issuer])
            for name, pk in external.items():
                superuser.execute("UPDATE accounts_identity SET external_id = %s WHERE username = %s", [pk, name])

    @property
    def superuser(self) -> str:
        return self.postgres.superuser.replace("/postgres?", "/stint?")

    def idp(self) -> Kept:
        """The provider's own state, read from its file."""
        return Kept(self.folder)

    def hold_before(self, name: str, level: str = "run") -> None:
        """This person has held the role before Stint; call it while the provider is not running."""
        idp = self.idp()
        box, role = idp.clients["stint"], self.role(level)
        made = idp.roles[box].get(role) or idp.role(role, box)
        idp.mapped[self.external[name]][box].add(made["id"])
        idp.save()

    def delete(self, name: str) -> None:
        """An admin deletes this person at the provider."""
        url = self.issuer.replace("/realms/", "/admin/realms/") + f"/users/{self.external[name]}"
        httpx.delete(url, headers={"Authorization": "Bearer t"}, trust_env=False).raise_for_status()

    def role(self, level: str = "run") -> str:
        return f"prefect-prod:deployment:etl/prod:{level}"

    def insist[T](self, do: Callable[[], T]) -> T:
        return insist(do, meanwhile=self.meanwhile)

    # What people do; tried again while the database is away, as they would.

    def asks(self, name: str, seconds: float, level: str = "run") -> Request:
        key, wanted = uuid4().hex, [ask.Wanted(self.made.deployment, level)]
        return self.insist(lambda: ask.ask(
            wanted, by=self.subjects[name], duration=timedelta(seconds=seconds), idempotency_key=key,
            reason="The nightly run died on a schema change; it needs another go.",
        ))  # fmt: skip

    def gets(self, name: str, seconds: float, level: str = "run") -> Grant:
        """Asked, approved: a grant."""
        request = self.asks(name, seconds, level)
        with suppress(Conflict):  # it was approved, and only the answer was lost
            self.insist(lambda: decide.approve(request, by=self.made.chiara))
        return self.insist(request.grants.get)

    def ends(self, grant: Grant, *, revoked: bool) -> None:
        by = self.made.chiara if revoked else self.subjects_by_pk[grant.beneficiary_id]
        with suppress(Conflict):  # over already, or it was done and only the answer was lost
            self.insist(lambda: (access.revoke if revoked else access.give_back)(grant, by=by))

    @property
    def subjects_by_pk(self) -> dict[int, Subject]:
        return {subject.pk: subject for subject in self.subjects.values()}


def insist[T](do: Callable[[], T], seconds: float = 30, meanwhile: Callable[[], None] = lambda: None) -> T:
    """Whatever the database's troubles are, somebody clicks again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return do()
        except DatabaseError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            meanwhile()
            time.sleep(0.2)


def until(true: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Whatever the database's troubles are."""
    waiting.until(lambda: insist(true), what, seconds=seconds, pause=0.05)


@contextmanager
def staged(blocker: DjangoDbBlocker, people: int) -> Iterator[Stage]:
    """A stage with its cast, and this process's Django on its database; the provider is not running yet."""
    stage = Stage(people)
    original = dict(connection.settings_dict)
    with blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        connection.close()
        try:
            stage.start_database()
            connection.settings_dict.update(
                NAME="stint", USER="stint_app", HOST=str(stage.postgres.socket), PORT=str(stage.postgres.port)
            )
            migrate()
            with psycopg.connect(stage.superuser) as superuser:
                superuser.execute(MOVES)
            patch.setattr(ask, "_refusal", lambda *_: None)  # else a minute would be the shortest
            stage.populate()
            stage.cast()
            yield stage
        finally:
            for log in sorted((stage.folder / "logs").glob("*.log")):  # shown when the test has failed
                print(f"--- {log.name}\n{stage.parts.tail(log.stem)}")
            connection.close()
            connection.settings_dict.update(original)
            stage.stop()
