from __future__ import annotations

import pytest
from django.db import transaction

from grants import clock
from grants.audit import Verb, record
from grants.catalog.models import Connection, Resource
from grants.catalog.search import having, search

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def catalog() -> None:
    with transaction.atomic():
        prod = Connection.objects.create(
            slug="prefect-prod",
            kind="prefect",
            url="http://p/api",
            environment="production",
            owner_team="platform",
        )
        lab = Connection.objects.create(slug="lab", kind="prefect", url="http://l/api", environment="staging")
        rows = [
            _add(
                prod,
                "deployment",
                "orders-nightly/prod",
                tags=["prod", "pii"],
                description="Loads all orders",
            ),
            _add(prod, "deployment", "etl/orders", tags=["two words"]),
            _add(lab, "deployment", "invoices/test", description="Like orders, 100% fake"),
            _add(lab, "pool", "k8s_orders"),
            _add(lab, "pool", "KÖLN"),
        ]
        record(Verb.CATALOG_SYNCED, by="cli", on=[prod, lab, *rows])


def _add(connection: Connection, kind: str, name: str, **more: object) -> Resource:
    return Resource.objects.create(
        connection=connection, kind=kind, name=name, remote_id=name, seen_at=clock.now(), **more
    )


def find(text: str, **options: object) -> list[str]:
    return [one.name for one in search(Resource.objects.all(), text, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["İstanbul", "ΟΔΟΣ", "m²", "नमस्ते prod", "x" * 150, "it's \\ & ('odd':*)"])
def test_what_narrows_by_words_leaves_out_no_resource_that_is_called_so(name: str) -> None:
    """Fault: PostgreSQL's small letters, digits and longest word are other ones than Python's."""
    with transaction.atomic():
        made = _add(Connection.objects.get(slug="lab"), "pool", name)
        record(Verb.CATALOG_SYNCED, by="cli", on=[made])
    assert list(Resource.objects.filter(having(name), name__icontains=name)) == [made]


def test_a_name_that_starts_with_it_comes_first() -> None:
    assert find("orders") == ["orders-nightly/prod", "etl/orders", "k8s_orders", "invoices/test"]
    assert find("ETL/ORDERS")[0] == "etl/orders"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pii", {"orders-nightly/prod"}),
        ("orders staging", {"k8s_orders", "invoices/test"}),
        ("  ORDERS\tplatform ", {"orders-nightly/prod", "etl/orders"}),
        ("lab pool", {"k8s_orders", "KÖLN"}),
        ("köln", {"KÖLN"}),
        ("words two", {"etl/orders"}),
        ("prodpii", set()),  # not across two tags
        ("nightl prod", {"orders-nightly/prod"}),  # words by their beginning
        ("ightly", set()),  # not from their middle
        ("orders-night", {"orders-nightly/prod"}),
        ("orders/nightly/prod", {"orders-nightly/prod"}),
        ("order-nightly", set()),  # all but the last part whole
        ("{prod", {"orders-nightly/prod", "etl/orders"}),  # signs part words, and are none
        ("orders nowhere", set()),
        ("100%", {"invoices/test"}),
        ("%", set()),
        ("k8s_o", {"k8s_orders"}),
        ("8s_o", set()),
        ("s-_o", set()),
        ("\\", set()),
        ("' OR 1=1 --", set()),
        ("a':*|'b", set()),
        ("o\u0000rders", set()),
        ("orders\x00nightly", {"orders-nightly/prod"}),
    ],
)
def test_every_word_must_occur_somewhere(text: str, names: set[str]) -> None:
    assert set(find(text)) == names


def test_nothing_asked_is_everything_by_name() -> None:
    assert find(" ") == find("") == sorted(find(""))
    assert len(find("")) == 5


def test_owners_of_the_policy_are_searchable() -> None:
    Resource.objects.filter(name="KÖLN").update(owner_team="finance-data")
    Resource.objects.filter(name="k8s_orders").update(owner_person="sso:id-7")
    assert find("FINANCE") == find("finance köln") == find("data") == ["KÖLN"]
    assert find("zoë") == []
    assert find("ZOË", people={"sso:id-7": "Zoë Financier", "sso:id-8": "Zoë Other"}) == ["k8s_orders"]


def test_a_long_text_is_cut() -> None:
    assert find("orders " * 10_000)[0] == "orders-nightly/prod"


def test_it_stays_within_what_it_is_given() -> None:
    assert [one.name for one in search(Resource.objects.filter(kind="pool"), "orders")] == ["k8s_orders"]
