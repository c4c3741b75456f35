"""A large company in a PostgreSQL of its own: made once by SQL, and kept between runs where that is asked for."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from string import Template

import psycopg

from portal.demo.keycloak import free_port
from portal.embedded import ROLES, Postgres, reachable

ROOT = Path(__file__).resolve().parents[2]
ISSUER = "http://127.0.0.1:1/realms/bench"
# Nothing of it needs to outlive a crash; memory as a small server has it.
OPTIONS = ("-c", "fsync=off", "-c", "shared_buffers=512MB", "-c", "max_wal_size=8GB", "-c", "work_mem=16MB")

CONNECTIONS, RULES, OWNER_LINES, HIDDEN = 20, 200, 400, 20
WORDS = (
    ("orders", "billing", "refunds", "stock", "pricing", "search", "ads", "churn", "fraud", "payroll",
     "returns", "carts", "leads", "routes", "fleet", "claims", "quotes", "audits", "energy", "traffic"),
    ("daily", "mart", "export", "features", "import", "report", "sync", "model", "clean", "score",
     "rollup", "events", "archive", "alerts", "index", "forecast", "backfill", "check", "merge", "stage"),
)  # fmt: skip
DOMAINS = [f"{first}-{second}" for first in WORDS[0] for second in WORDS[1]]


@dataclass(frozen=True)
class Size:
    """How large a company is made; all but the policy follows the number of grants."""

    grants: int

    @property
    def people(self) -> int:
        return max(500, self.grants // 200)

    @property
    def numbers(self) -> dict[str, int]:
        requests = self.grants * 100 // 92
        return {
            "grants": self.grants, "requests": requests, "live": requests // 50, "pending": self.people,
            "people": self.people, "teams": max(50, self.people // 10), "resources": max(4_000, self.grants // 20),
            "connections": CONNECTIONS, "deciders": 200, "admin": self.people - 1, "auditor": self.people,
        }  # fmt: skip


def policy(size: Size) -> str:
    """A policy of RULES rules and OWNER_LINES owner lines: some hide, some are strict, most never apply."""
    teams = size.numbers["teams"]

    def team(number: int) -> str:
        return f"team-{1 + number % teams:03}"

    lines = ["version: 1", "owner_tags: false", "owners:"]
    for n in range(OWNER_LINES):
        whose = f"person: {{idp: bench, username: person{n}}}" if n % 20 == 19 else f"team: {team(n)}"
        lines.append(
            f'  - {{match: {{kind: [pool, deployment, block], name: ["{DOMAINS[n]}-*", "secret/{DOMAINS[n]}-*"]}}, {whose}}}'
        )
    lines += [f"fallback: [{{team: {team(0)}}}]", "rules:"]
    terms = "duration: {default: 1h, longest: 30d}, stages: [{need: 1, from: [owners]}], reason: {min: 10}"
    lines += [
        f"  - {{name: everywhere, match: {{kind: [pool, deployment]}}, ask: anyone, levels: [view, run, operate], {terms}}}",
        f"  - {{name: blocks, match: {{kind: block}}, ask: anyone, levels: [view], {terms}}}",
        f"  - {{name: servers, match: {{kind: server}}, ask: [{{team: {team(0)}}}], levels: [view, admin], {terms}}}",
    ]
    for n in range(RULES - HIDDEN - 3):
        ask = "anyone" if n % 3 else f"[{{team: {team(n)}}}, {{team: {team(n + 1)}}}]"
        match = f'environment: production, kind: deployment, name: "{DOMAINS[n * 2]}-*"'
        lines.append(f"  - {{name: strict-{n}, match: {{{match}}}, ask: {ask}, levels: [view, run], {terms}}}")
    for n in range(HIDDEN):
        match = f"owner: {team(n * 17)}, tag: [pii, sox]"
        lines.append(
            f"  - {{name: hidden-{n}, match: {{{match}}}, ask: [{{team: {team(n)}}}], levels: [view], discoverable: false, {terms}}}"
        )
    return "\n".join(lines) + "\n"


@contextmanager
def company(folder: Path, size: Size) -> Iterator[dict[str, str]]:
    """The environment of a process of Stint at this company; made in `folder` unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL runs as nobody when this is root
    (folder / "static").mkdir(exist_ok=True)
    postgres = Postgres(reachable(folder) / "postgres", free_port())
    postgres.start(*OPTIONS, log=folder / "postgres.log")
    try:
        postgres.roles(dict.fromkeys(ROLES, "bench"))
        postgres.database("stint")
        yield {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "STINT_DATABASE_URL": postgres.url("stint_app", "bench", "stint"),
            "STINT_DATABASE_OWNER_URL": postgres.url("stint_owner", "bench", "stint"),
            "STINT_SECRET_KEY": secrets.token_urlsafe(40),
            "STINT_PUBLIC_URL": "http://127.0.0.1:8000",
            "STINT_BROKER_URL": "redis://127.0.0.1:1/0",
            "STINT_IDP_SLUG": "bench",
            "STINT_IDP_KIND": "keycloak",
            "STINT_OIDC_ISSUER": ISSUER,
            "STINT_OIDC_CLIENT_SECRET": "bench",
            "STINT_IDP_ADMIN_SECRET_REF": "env:STINT_OIDC_CLIENT_SECRET",
            "STINT_AUDIT_KEY_FILE": str(folder / "audit.pem"),
            "STINT_AUDIT_HEADS_FILE": str(folder / "heads.jsonl"),
            "STINT_STATIC_ROOT": str(folder / "static"),
            "STINT_LOG_LEVEL": "ERROR",
            "STINT_BENCH_SUPERUSER": postgres.superuser.replace("/postgres?", "/stint?"),
        }
    finally:
        postgres.stop()


def is_made(folder: Path, size: Size) -> bool:
    """Whether this folder holds a whole company of this size. Raises ValueError where it holds another."""
    made = folder / "made.json"
    if made.exists() and json.loads(made.read_text()) != asdict(size):
        raise ValueError(f"{folder} holds {made.read_text()}: name another folder, or the same --grants.")
    return made.exists()


def manage(*command: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "manage.py"), *command], check=True, stdout=subprocess.DEVNULL)


def make(superuser: str, folder: Path, size: Size) -> None:
    """Fill an empty, migrated database. Django is set up."""
    from grants.policy import versions  # noqa: PLC0415 (needs the settings)

    numbers = size.numbers
    domains = "ARRAY[" + ",".join(f"'{name}'" for name in DOMAINS) + "]"
    with psycopg.connect(superuser) as database:
        _run(database, "company_people", **numbers, domains=domains, issuer=ISSUER)
    applied = versions.apply(policy(size), by=None)
    with psycopg.connect(superuser) as database:
        _run(database, "company_grants", **numbers, policy=applied.pk)
    _chain(superuser)
    _heads()
    with psycopg.connect(superuser, autocommit=True) as database:
        database.execute("VACUUM (ANALYZE)")
    (folder / "made.json").write_text(json.dumps(asdict(size)))


def judge() -> None:
    """As the first sync does after an update: a kept database may be of a release that judged less."""
    from django.db import transaction  # noqa: PLC0415

    from grants.catalog.changes import judged_anew  # noqa: PLC0415
    from grants.catalog.models import Connection  # noqa: PLC0415

    for pk in Connection.objects.values_list("pk", flat=True):
        with transaction.atomic():
            judged_anew.send(sender=None, connections=[pk], changed=[])


def _run(database: psycopg.Connection, name: str, **values: object) -> None:
    text = Template(Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")).substitute(values)
    database.execute(text)
    database.commit()


def _chain(superuser: str) -> None:
    """Copy the events that were made into the record, each linked to the one before, as audit_append() would."""
    from grants.audit.chain import link  # noqa: PLC0415

    with psycopg.connect(superuser) as reading, psycopg.connect(superuser) as writing:
        writing.execute("SET session_replication_role = replica")
        (head,) = writing.execute("SELECT hash FROM grants_audithead").fetchone() or (b"",)
        events = reading.cursor(name="events")
        events.itersize = 20_000
        events.execute("SELECT seq, at, verb, actor, convert_to(payload, 'UTF8') FROM made_event ORDER BY seq")
        seq = 0
        columns = "seq, at, verb, actor, payload, prev, hash"
        with writing.cursor().copy(f"COPY grants_auditevent ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "timestamptz", "text", "text", "bytea", "bytea", "bytea"])
            for seq, at, verb, actor, payload in events:
                prev, head = bytes(head), link(bytes(head), seq, at, verb, actor, payload)
                copy.write_row((seq, at, verb, actor, payload, prev, head))
        writing.execute("UPDATE grants_audithead SET seq = %s, hash = %s", [seq, head])
        writing.execute("UPDATE grants_cursor SET seq = %s", [seq])
        reading.rollback()
        writing.execute("DROP TABLE made_event")


def _heads() -> None:
    """A month of exported heads, one a minute, as the sweeper writes them."""
    from unittest import mock  # noqa: PLC0415

    from grants import clock  # noqa: PLC0415
    from grants.audit import export, heads  # noqa: PLC0415

    last, key, head = clock.now(), export.head_key(), export.AuditHead.objects.get()
    minutes = 30 * 24 * 60
    with mock.patch("os.fsync"):
        for minute in range(minutes):
            at = last - timedelta(minutes=minutes - minute)
            line = heads.signed_line(head.seq, bytes(head.hash), at, key)
            heads.append(export.settings.ENV.audit_heads_file, line, at)
