"""What opens the gate is nowhere but with whom it was made for: not in the database, not in a log, not in an error."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import traceback
from pathlib import Path

import pytest
from django.db import transaction
from psycopg import sql
from pytest_django import Settings

from accounts.errors import UserError
from grants import tasks
from grants.audit import Verb, record
from grants.catalog.models import Connection
from grants.lifecycle import access, decide
from grants.tokens import issue, tickets
from grants.tokens.delivery import base
from grants.tokens.mint import mint, read
from tests.cast import Cast
from tests.conftest import connect
from tests.tokens.scene import working

pytestmark = pytest.mark.usefixtures("commits")

TOKEN = re.compile(r"stint[st]?_[0-9A-Za-z]{16}_")


def dump() -> str:
    """Every row of every table, as text."""
    with connect("superuser") as superuser:
        tables = superuser.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [
            row
            for (table,) in tables
            for row in superuser.execute(
                sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))
            ).fetchall()
        ]  # fmt: skip
    return "\n".join(text for (text,) in rows)


def spellings(token: str) -> list[str]:
    secret = token.rsplit("_", 1)[1]
    return [secret, secret.encode().hex(), base64.b64encode(token.encode()).decode()[4:-4]]


def test_a_credential_is_kept_as_its_digest_alone(
    cast: Cast, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    settings.ENV = settings.ENV.model_copy(update={"token_dir": tmp_path})
    run = decide.approve(cast.asks(minutes=120), by=cast.chiara).grants.get()
    work = working(cast)
    first = issue.issue(run, by=cast.ada)
    second = issue.rotate(first.credential, by=cast.ada)
    base.begin(work.beneficiary, by=cast.ada)
    tasks.run(f"token:{work.beneficiary_id}")
    (file,) = (tmp_path / work.beneficiary.ref).iterdir()
    with transaction.atomic():
        Connection.objects.filter(pk=cast.connection.pk).update(host="prefect.example.org")
        record(Verb.CONNECTION_APPLIED, by="test", on=[cast.connection])
    cast.connection.refresh_from_db()
    nonce, session = b"n" * 32, mint("gate_session")
    ticket = tickets.hand_over(cast.ada, cast.connection, hashlib.sha256(nonce).digest())
    with connect("stint_gate") as gate:
        redeemed = [read(ticket), hashlib.sha256(nonce).digest(), session.key_id, session.digest]
        assert gate.execute("SELECT * FROM gate_redeem(%s, %s, %s, %s)", redeemed).fetchall()
        gate.commit()
        seen = {bytes(digest) for (digest,) in gate.execute("SELECT digest FROM gate_credentials").fetchall()}
    told = []
    for failing in (
        lambda: issue.rotate(first.credential, by=cast.ada),
        lambda: issue.revoke(first.credential, by=cast.ben),
    ):
        try:
            failing()
        except UserError:
            told.append(traceback.format_exc())
    access.revoke(run, by=cast.chiara)

    secrets = [first.token, second.token, file.read_text().strip(), ticket, session.token]
    assert seen == {read(token) for token in secrets if token != ticket}
    everywhere = dump()
    said = "\n".join([caplog.text, *capfd.readouterr(), *told, repr((first, second, session))])
    assert len(told) == 2
    assert first.credential.key_id in everywhere  # the dump does look where tokens would be
    for token in secrets:
        for spelling in spellings(token):
            assert spelling not in everywhere
            assert spelling not in said
    assert not TOKEN.search(everywhere)
    assert not TOKEN.search(said)
