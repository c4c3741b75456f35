"""What tests begin from is what the code makes, whether it was made for them or put back."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import connection, models, transaction

from accounts.models import Subject, Team
from grants import clock
from grants.audit.verify import verify
from tests.cast import make_cast
from tests.databases import KeptCast

# What differs each time: ids, and what is made of them or of the time.
OTHER = (models.BigAutoField, models.ForeignKey, models.BigIntegerField, models.DateTimeField, models.BinaryField)


def written() -> dict[str, list[Any]]:
    """All rows of all tables, without what differs each time."""
    found = {}
    for model in apps.get_models():
        if model._meta.app_label in ("accounts", "grants"):
            names = [field.attname for field in model._meta.local_fields if not isinstance(field, OTHER)]
            found[model._meta.label] = sorted(map(repr, model._base_manager.values_list(*names or ["pk"])))
    return found


def test_the_cast_is_put_back_as_it_is_made(db: None, kept_cast: KeptCast) -> None:
    """Fault: a table that is not kept."""
    with transaction.atomic():
        made, rows = make_cast(), written()
        transaction.set_rollback(True)
    again = kept_cast.again()
    assert again
    assert written() == rows
    assert sum(map(len, rows.values())) > 30
    for name, one in vars(made).items():
        back = getattr(again, name)
        assert (type(back), getattr(back, "name", "")) == (type(one), getattr(one, "name", "")), name
    assert again.deployment.connection is again.orphan.connection is again.connection
    assert again.deployment.parent is again.pool
    assert abs((clock.now() - again.pool.seen_at).total_seconds()) < 60
    assert verify().whole


def test_what_is_put_back_was_recorded_in_this_transaction(db: None, kept_cast: KeptCast) -> None:
    """As after make_cast(). Fault: the head keeps the transaction that the cast was made in."""
    again = kept_cast.again()
    assert again
    Subject.objects.filter(pk=again.ada.pk).update(active=False)
    connection.check_constraints()


def test_it_is_put_back_into_an_empty_database_only(db: None, kept_cast: KeptCast) -> None:
    """Fault: a test that made somebody first finds the cast's rows beside them, or a key twice."""
    with transaction.atomic():
        Team.objects.create(slug="first")
        assert kept_cast.again() is None
        transaction.set_rollback(True)
    assert kept_cast.again()
    assert kept_cast.again() is None


def test_after_a_test_that_commits_nothing_is_left(commits: None, kept_cast: KeptCast) -> None:
    assert kept_cast.again()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM grants_auditevent")
        assert cursor.fetchone()[0] > 5
    assert Subject.objects.exists()
