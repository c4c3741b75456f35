"""The record cannot be quietly changed: each way of changing it is named by number."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Barrier, Thread

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from pytest_django import DjangoAssertNumQueries

from grants.audit import Event, Verb, record, record_all
from grants.audit.export import export_head, make_key
from grants.audit.models import AuditEvent, AuditHead
from grants.audit.verify import verify
from tests.cast import Cast
from tests.conftest import connect


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and no heads yet."""
    env = settings.ENV.model_copy(
        update={"audit_key_file": tmp_path / "key.pem", "audit_heads_file": tmp_path / "heads"}
    )
    monkeypatch.setattr(settings, "ENV", env)
    make_key(env.audit_key_file)


@pytest.fixture
def chain(commits: None, files: None) -> None:
    """Ten events."""
    for n in range(10):
        with transaction.atomic():
            record(Verb.POLICY_REFUSED, by="test", n=n)


def as_owner(*statements: str) -> None:
    """What somebody with the owner's password can do: switch the triggers off and change what they like."""
    with connect("stint_owner") as owner:
        owner.execute("ALTER TABLE grants_auditevent DISABLE TRIGGER unchangeable")
        owner.execute("ALTER TABLE grants_audithead DISABLE TRIGGER one_row")
        for statement in statements:
            owner.execute(statement)
        owner.execute("ALTER TABLE grants_auditevent ENABLE TRIGGER unchangeable")
        owner.execute("ALTER TABLE grants_audithead ENABLE TRIGGER one_row")


@pytest.mark.usefixtures("chain")
def test_an_untouched_record_is_whole() -> None:
    verdict = verify()
    assert verdict.whole
    assert verdict.count == 10


@pytest.mark.usefixtures("chain")
def test_the_owners_functions_are_not_believed() -> None:
    """Fault: SQL that puts together what is hashed. Functions before PostgreSQL's own give back what had stood there."""
    as_owner(
        "UPDATE grants_auditevent SET actor = 'S-99' WHERE seq = 4",
        "CREATE SCHEMA evil",
        "GRANT USAGE ON SCHEMA evil TO stint_app",
        """CREATE FUNCTION evil.convert_to(said text, name) RETURNS bytea LANGUAGE sql AS
            $$ SELECT pg_catalog.convert_to(replace(said, 'S-99', 'test'), 'UTF8') $$""",
        "GRANT EXECUTE ON FUNCTION evil.convert_to TO stint_app",
        "CREATE FUNCTION evil.octet_length(said text) RETURNS int LANGUAGE sql AS $$ SELECT length(replace(said, 'S-99', 'test')) $$",
        "GRANT EXECUTE ON FUNCTION evil.octet_length TO stint_app",
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = evil, pg_catalog, public")  # or by ALTER DATABASE, for everybody
        verdict = verify()
    finally:
        connection.close()
        as_owner("DROP SCHEMA evil CASCADE")
    assert (verdict.whole, verdict.broken_seq) == (False, 4)


@pytest.mark.usefixtures("chain")
def test_what_may_be_nothing_in_the_end_is_broken() -> None:
    as_owner(
        "ALTER TABLE grants_auditevent ALTER payload DROP NOT NULL",
        "UPDATE grants_auditevent SET payload = NULL WHERE seq = 4",
    )
    verdict = verify()
    as_owner("DELETE FROM grants_auditevent", "ALTER TABLE grants_auditevent ALTER payload SET NOT NULL")
    assert (verdict.whole, verdict.broken_seq) == (False, 4)


@pytest.mark.usefixtures("commits", "files")
def test_letters_of_every_alphabet_are_hashed_as_they_are() -> None:
    with transaction.atomic():
        record(Verb.POLICY_REFUSED, by="Zoë 花", why="naïve 🙂")
    assert verify().whole


@pytest.mark.usefixtures("commits", "files")
def test_an_empty_record_is_whole() -> None:
    assert verify().whole


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("UPDATE grants_auditevent SET actor = 'S-99' WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET verb = 'x' WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET payload = '{}' WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET at = at + interval '1 microsecond' WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET at = 'infinity' WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET at = '-infinity' WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET hash = sha256('') WHERE seq = 4", 4),
        ("UPDATE grants_auditevent SET prev = sha256('') WHERE seq = 4", 4),
        ("DELETE FROM grants_auditevent WHERE seq = 4", 4),
        ("DELETE FROM grants_auditevent WHERE seq = 1", 1),
        ("DELETE FROM grants_auditevent WHERE seq >= 9", 9),
        ("UPDATE grants_auditevent SET seq = 40 WHERE seq = 4", 4),
        ("UPDATE grants_audithead SET hash = sha256('')", 10),
        ("UPDATE grants_audithead SET seq = 12", 11),
        ("DELETE FROM grants_auditevent", 1),
    ],
)
def test_a_change_by_the_owner_is_named(change: str, broken: int) -> None:
    as_owner(change)
    verdict = verify()
    assert not verdict.whole
    assert verdict.broken_seq == broken
    with pytest.raises(CommandError, match=f"BROKEN at event {broken}"):
        call_command("verify_audit")


@pytest.mark.usefixtures("chain")
def test_a_cut_tail_with_a_mended_head_is_found_by_the_exported_head() -> None:
    export_head()
    as_owner(
        "DELETE FROM grants_auditevent WHERE seq > 6",
        "UPDATE grants_audithead SET seq = 6, hash = (SELECT hash FROM grants_auditevent WHERE seq = 6)",
    )
    verdict = verify()
    assert (verdict.whole, verdict.broken_seq) == (False, 7)


@pytest.mark.usefixtures("chain")
def test_a_rewritten_chain_is_found_by_the_exported_head() -> None:
    """Everything recomputed from event 8 on: only what was written elsewhere tells."""
    export_head()
    as_owner(
        "DELETE FROM grants_auditevent WHERE seq > 7",
        "UPDATE grants_audithead SET seq = 7, hash = (SELECT hash FROM grants_auditevent WHERE seq = 7)",
    )
    for n in range(5):
        with transaction.atomic():
            record(Verb.POLICY_REFUSED, by="forger", n=n)
    verdict = verify()
    assert (verdict.whole, verdict.broken_seq) == (False, 10)


@pytest.mark.usefixtures("chain")
def test_a_forged_head_proves_nothing() -> None:
    path = settings.ENV.audit_heads_file
    path.write_text(json.dumps({"at": "2026-01-01", "seq": 3, "hash": "00" * 32, "signature": "AAAA"}) + "\nnonsense\n")
    assert verify().whole


@pytest.mark.usefixtures("chain")
def test_heads_are_added_also_when_nothing_is_new() -> None:
    assert export_head() == export_head() == 10
    lines = settings.ENV.audit_heads_file.read_text().splitlines()
    assert len(lines) == 2


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("commits")
def test_no_event_without_a_transaction() -> None:
    with pytest.raises(TransactionManagementError):
        record(Verb.POLICY_REFUSED, by="test")


@pytest.mark.usefixtures("chain")
def test_events_sent_together_are_links_like_any_other(cast: Cast) -> None:
    before = AuditHead.objects.get().seq
    with transaction.atomic():
        record_all([Event(Verb.CATALOG_SYNCED, {"n": n}, [cast.pool]) for n in range(3)], by="test")
    events = AuditEvent.objects.filter(seq__gt=before).order_by("seq")
    assert [json.loads(bytes(event.payload)) for event in events] == [
        {"n": n, "resources": [cast.pool.pk]} for n in range(3)
    ]
    cast.pool.refresh_from_db()
    assert cast.pool.version == before + 3
    assert verify().whole
    with pytest.raises(TransactionManagementError):
        record_all([Event(Verb.CATALOG_SYNCED, {})], by="test")


@pytest.mark.usefixtures("chain")
def test_events_that_stamp_nothing_are_one_statement_and_links_like_any_other(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """Faults: a hash or a number that begins anew, `prev` of the next, one event for many."""
    before = AuditHead.objects.get().seq
    with transaction.atomic():
        record(Verb.POLICY_REFUSED, by="test")
        with django_assert_num_queries(1):
            record_all([Event(Verb.BINDING_GIVEN, {"binding": n}) for n in range(100)], by="sweeper")
        record_all([Event(Verb.BINDING_TAKEN, {"binding": 0})], by="sweeper")
    events = AuditEvent.objects.filter(seq__gt=before + 1).order_by("seq")
    assert [json.loads(bytes(event.payload)) for event in events] == [{"binding": n} for n in (*range(100), 0)]
    assert verify().whole
    assert verify().count == before + 102


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize("verbs", ["ARRAY['record.restored']", "ARRAY['x', 'record.restored']",
                                   "ARRAY['x', 'x', 'x', 'record.restored', 'x']"])  # fmt: skip
def test_a_restore_cannot_be_said_among_many(verbs: str) -> None:
    """Who says so may leave numbers out. Fault: the head moved after the events."""
    with connect("stint_app", autocommit=True) as app, pytest.raises(psycopg.DatabaseError, match="only the owner"):
        app.execute(
            f"SELECT audit_append_all(v, 'operator', ARRAY(SELECT '{{}}'::bytea FROM unnest(v))) FROM (SELECT {verbs}) of (v)"
        )
    assert verify().count == 10


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize("arguments", ["ARRAY['x', 'y'], 't', ARRAY['{}'::bytea]", "ARRAY['x'], 't', ARRAY['{}', '{}']::bytea[]",
                                       "ARRAY['x', NULL], 't', ARRAY['{}', '{}']::bytea[]", "ARRAY['x'], NULL, ARRAY['{}'::bytea]"])  # fmt: skip
def test_half_an_event_is_none(arguments: str) -> None:
    with connect("stint_app", autocommit=True) as app, pytest.raises(psycopg.errors.NotNullViolation):
        app.execute(f"SELECT audit_append_all({arguments})")
    assert verify().count == 10


@pytest.mark.usefixtures("commits")
def test_an_aborted_action_leaves_no_event() -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop), transaction.atomic():
        record(Verb.POLICY_REFUSED, by="test")
        raise Stop
    assert not AuditEvent.objects.exists()


def test_events_of_many_at_once_are_one_gapless_chain(commits: None, files: None, cast: Cast) -> None:
    before = AuditHead.objects.get().seq
    barrier = Barrier(8)

    def work() -> None:
        barrier.wait()
        for n in range(20):
            with transaction.atomic():
                record(Verb.POLICY_REFUSED, by="test", on=[cast.pool, cast.ada], n=n)
        connection.close()

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = verify()
    assert verdict.whole
    assert verdict.count == before + 160
    cast.pool.refresh_from_db()
    assert cast.pool.version == verdict.count


def test_the_record_holds_no_names_and_no_text(commits: None, cast: Cast) -> None:
    cast.asks()
    everything = b" ".join(bytes(event.payload) + event.actor.encode() for event in AuditEvent.objects.all())
    for personal in (b"Ada", b"ada@", b"schema change", b"etl", b"id-ada"):
        assert personal not in everything
