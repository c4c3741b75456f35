"""What the bench runs on: a real PostgreSQL, Valkey and Keycloak, and two real Celery workers of ours."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from portal.demo.__main__ import WORKER, base_env
from portal.demo.keycloak import Keycloak, free_port
from portal.demo.process import Parts, listens
from portal.embedded import ROLES, Postgres, reachable, valkey_command
from tests.real.keycloak import Realm

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("one", "two")


@contextmanager
def stack(people: list[Mapping[str, object]]) -> Iterator[tuple[Realm, Parts]]:
    """All but the workers, with these people at Keycloak; our own environment is then that of a process of Stint."""
    with ExitStack() as after:
        folder = Path(tempfile.mkdtemp(prefix="stint-bench-"))
        after.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL runs as nobody when this is root
        (folder / "logs").mkdir()
        (folder / "static").mkdir()
        parts = Parts(folder)
        after.callback(parts.stop)

        keycloak = Keycloak(folder / "keycloak")
        after.callback(keycloak.stop)
        keycloak.start()
        realm = Realm(keycloak.url, people=people)
        valkey = free_port()
        parts.start("valkey", valkey_command(valkey, folder), base_env())
        parts.wait("valkey", listens(valkey))
        os.environ |= _postgres(parts, reachable(folder)) | _settings(realm, folder, valkey)
        for command in (["migrate", "--verbosity", "0"], ["audit_key"]):
            subprocess.run([sys.executable, str(ROOT / "manage.py"), *command], check=True, stdout=subprocess.DEVNULL)
        yield realm, parts


def start_workers(parts: Parts) -> None:
    """The command of the demo and of docker-compose.yml, twice. They are ready once their beats are in the database."""
    for name in WORKERS:
        parts.start(name, [*WORKER, "--hostname", f"{name}@%h"], os.environ)


def _postgres(parts: Parts, folder: Path) -> dict[str, str]:
    """As in production it reaches the disk at each commit."""
    postgres = Postgres(folder / "postgres", free_port())
    postgres.start(log=parts.log("postgres"))
    assert postgres.process
    parts.keep("postgres", postgres.process)
    passwords = {role: secrets.token_urlsafe(20) for role in ROLES}
    postgres.roles(passwords)
    postgres.database("stint")
    return {
        "STINT_DATABASE_URL": postgres.url("stint_app", passwords["stint_app"], "stint"),
        "STINT_DATABASE_OWNER_URL": postgres.url("stint_owner", passwords["stint_owner"], "stint"),
    }


def _settings(realm: Realm, folder: Path, valkey: int) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "STINT_SECRET_KEY": secrets.token_urlsafe(40),
        "STINT_PUBLIC_URL": "http://127.0.0.1:8000",
        "STINT_BROKER_URL": f"redis://127.0.0.1:{valkey}/0",
        "STINT_IDP_SLUG": "bench",
        "STINT_IDP_KIND": "keycloak",
        "STINT_OIDC_ISSUER": realm.issuer,
        "STINT_OIDC_CLIENT_SECRET": realm.client_secret,
        "STINT_IDP_ADMIN_SECRET_REF": "env:STINT_BENCH_SECRET",
        "STINT_BENCH_SECRET": realm.provisioner_secret,
        "STINT_MAIL_DIR": str(folder / "mail"),
        "STINT_AUDIT_KEY_FILE": str(folder / "audit.pem"),
        "STINT_AUDIT_HEADS_FILE": str(folder / "heads.jsonl"),
        "STINT_STATIC_ROOT": str(folder / "static"),
        "STINT_SYNC_SECONDS": "3600",  # the directory is read once, before the measuring
        "STINT_LOG_LEVEL": "WARNING",
    }
