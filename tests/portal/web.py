"""The portal as a process of its own, with a PostgreSQL of its own that tests may stop, freeze and fill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg

from portal.embedded import ROLES, Postgres, stop
from tests import waiting
from tests.plugin import FAST
from tests.real.prefect import free_port

ROOT = Path(__file__).resolve().parents[2]
SIGN_IN = """
import time
from django.conf import settings
from django.test import Client
from django.db import transaction
from accounts import people
from accounts.idp import default, row_of
from accounts.signals import happened
from accounts.sso import Backend
with transaction.atomic():
    subject = people.add_person(row_of(default()), "ada", name="Ada", email="", username="ada")
    facts = {"subject": subject.pk, "roles_given": [], "roles_taken": [], "new": True}
    happened.send(sender=Backend, verb="subject.signed_in", by=subject, subjects=[subject], facts=facts)
client = Client()
client.force_login(subject)
session = client.session
session["oidc_id_token_expiration"] = time.time() + 3600
session.save()
print(client.cookies[settings.SESSION_COOKIE_NAME].value)
"""


class Web:
    """`python -m portal.web` on a database of its own, and somebody who is signed in."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stint-web-"))
        self.folder.chmod(0o755)
        (self.folder / "static").mkdir()
        self.postgres = Postgres(self.folder / "pg", free_port())
        self.port = free_port()
        self.log = self.folder / "web.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.env = os.environ | {
            "STINT_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "STINT_DATABASE_URL": f"postgresql://stint_app:test@127.0.0.1:{self.postgres.port}/stint",
            "STINT_DATABASE_OWNER_URL": f"postgresql://stint_owner:test@127.0.0.1:{self.postgres.port}/stint",
            "STINT_WEB_PORT": str(self.port),
            "STINT_STATIC_ROOT": str(self.folder / "static"),
            "STINT_LOG_LEVEL": "INFO",
            "STINT_LOG_FORMAT": "json",
        }

    def start(self) -> Web:
        self.postgres.start(*FAST)
        self.postgres.roles(dict.fromkeys(ROLES, "test"))
        self.postgres.database("stint")
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--noinput", "--verbosity", "0")
        self.cookie = f"stint-{self.port}-session={self.manage('shell', '--no-imports', '-c', SIGN_IN).strip()}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portal.web"], cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True
            )  # fmt: skip
        self.until(lambda: self.status("/readyz") == 200)
        self.until(lambda: self.status("/signin") == 200)
        return self

    def end(self) -> None:
        self.thaw()
        if self.process:
            stop(self.process)
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str, *, signed_in: bool = False, **headers: str) -> httpx.Response:
        cookies = {"cookie": self.cookie} if signed_in else {}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=cookies | headers, timeout=30)

    def status(self, path: str, **more: object) -> int:
        try:
            return self.get(path, **more).status_code  # type: ignore[arg-type]
        except httpx.TransportError:
            return 0

    def send(self, head: str, body: bytes = b"") -> socket.socket:
        """The first bytes of a call, on a connection that stays open."""
        line = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        return line

    def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """For as long as it runs."""

        def holds_here() -> bool:
            if holds():
                return True
            assert self.process
            assert self.process.poll() is None, self.tail()
            return False

        waiting.until(holds_here, self.tail, seconds=seconds, pause=0.05)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def as_superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.postgres.superuser.replace("/postgres?", "/stint?"), autocommit=True)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, sig: signal.Signals) -> None:
        """To the postmaster and all that it has started."""
        assert self.postgres.process
        parent = self.postgres.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            os.kill(pid, sig)
