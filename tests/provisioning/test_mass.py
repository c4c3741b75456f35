"""Many of one role cost a call each, and a few lists: what a list does not show is not believed by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from psycopg import ClientCursor

from grants.adapters.idp.keycloak import KeycloakAdapter
from grants.lifecycle.models import RoleBinding
from grants.provisioning import gather, leases, statements
from grants.provisioning.calls import BACKLOG
from grants.provisioning.gather import LIST_FROM, Gather
from grants.provisioning.health import Providers
from grants.provisioning.reconcile import reconcile
from tests.adapters.fake_keycloak import FakeKeycloak
from tests.cast import Cast
from tests.conftest import connect
from tests.provisioning import crowd
from tests.provisioning.fake import FakeIdP

type Move = Callable[[datetime | timedelta | None], datetime]
PEOPLE = 100


def kinds(server: FakeKeycloak) -> Counter[str]:
    """What it was asked, since it was last asked for this."""
    asked = Counter[str]()
    for request in server.requests:
        path = request.url.path
        kind = "list" if path.endswith("/users") else "mappings" if "role-mappings" in path else "other"
        asked[f"{request.method} {kind}"] += 1
    server.requests.clear()
    return asked


@pytest.mark.usefixtures("commits")
class TestAtKeycloak:
    @pytest.fixture
    def server(self) -> FakeKeycloak:
        return FakeKeycloak()

    @pytest.fixture
    def idp(self, server: FakeKeycloak) -> KeycloakAdapter:
        return KeycloakAdapter("http://fake", "test", client_id="p", secret="s", transport=server.transport())

    @pytest.fixture
    def turn(self, cast: Cast, idp: KeycloakAdapter) -> Callable[[], int]:
        return partial(reconcile, BACKLOG, connect=lambda _idp: idp, more=lambda: True, providers=Providers())

    def holding(self, server: FakeKeycloak) -> int:
        return sum(bool(held[server.clients["stint"]]) for held in server.mapped.values())

    def test_a_call_each_and_a_few_lists(
        self, cast: Cast, server: FakeKeycloak, turn: Callable[[], int], at: Move
    ) -> None:
        crowd.hold(cast, crowd.join(cast, server, PEOPLE), lasts=timedelta(minutes=5))
        turn()
        assert self.holding(server) == PEOPLE
        asked = kinds(server)
        assert asked["POST mappings"] == PEOPLE
        assert asked["GET mappings"] <= 1.5 * PEOPLE, "what was there before is looked at one by one"
        assert asked["GET list"] <= PEOPLE / LIST_FROM
        assert asked["GET other"] <= 20 + 3 * asked["GET list"], "the role's row is kept for a moment"

        at(timedelta(minutes=6))
        turn()
        assert self.holding(server) == 0
        assert crowd.phases() == {"absent": PEOPLE}
        asked = kinds(server)
        assert asked["DELETE mappings"] == PEOPLE
        assert asked["GET mappings"] <= PEOPLE / 2

        at(timedelta(seconds=11))
        turn()
        assert not RoleBinding.objects.exclude(recheck_at=None).exists()
        asked = kinds(server)
        assert asked["DELETE mappings"] == 0
        assert asked["GET mappings"] <= PEOPLE / 2

    def test_what_lingers_is_found_among_many(
        self, cast: Cast, server: FakeKeycloak, turn: Callable[[], int], at: Move
    ) -> None:
        people = crowd.join(cast, server, PEOPLE)
        crowd.hold(cast, people, lasts=timedelta(minutes=5))
        turn()
        at(timedelta(minutes=6))
        turn()
        role = server.roles[server.clients["stint"]][crowd.ROLE]
        late = people[7]
        server.mapped[late][server.clients["stint"]].add(role["id"])
        at(timedelta(seconds=11))
        turn()
        assert self.holding(server) == 0
        assert RoleBinding.objects.exclude(recheck_at=None).get().external_id == late, "and is looked at once more"

    def test_no_list_where_lists_leave_people_out(self, server: FakeKeycloak, idp: KeycloakAdapter) -> None:
        server.role(crowd.ROLE, server.clients["stint"])
        assert idp.holders(crowd.ROLE) is not None
        idp.close()
        another = KeycloakAdapter("http://fake", "test", client_id="p", secret="s", transport=server.transport())
        server.fine_grained = True
        assert another.holders(crowd.ROLE) is None

    def test_a_name_that_moves_to_another_role_meanwhile_is_no_list(
        self, server: FakeKeycloak, idp: KeycloakAdapter
    ) -> None:
        """What Stint gave has another name by now, and is held; its namesake is nobody's."""
        stint = server.clients["stint"]
        server.role(crowd.ROLE, stint)
        assert idp.holders(crowd.ROLE) is not None

        def renamed(request: httpx.Request) -> httpx.Response:
            server.rename(crowd.ROLE, "another")
            server.role(crowd.ROLE, stint)
            return httpx.Response(200, json=[])

        server.fault("GET", "/users$", renamed)
        assert idp.holders(crowd.ROLE) is None

    @pytest.mark.parametrize("blind", ["fine-grained permissions", "a list that is empty", "a list that fails"])
    def test_a_list_that_does_not_show_all_says_nothing(
        self, cast: Cast, server: FakeKeycloak, turn: Callable[[], int], at: Move, blind: str
    ) -> None:
        """Nobody's role is said to be gone, or cleared, for not being on it."""
        people = crowd.join(cast, server, PEOPLE)
        crowd.hold(cast, people, lasts=timedelta(minutes=5))
        turn()
        at(timedelta(minutes=6))
        turn()
        role = server.roles[server.clients["stint"]][crowd.ROLE]
        for person in people:  # all of them linger
            server.mapped[person][server.clients["stint"]].add(role["id"])
        answers = {"a list that is empty": httpx.Response(200, json=[]), "a list that fails": httpx.Response(500)}
        if blind in answers:
            server.fault("GET", "/users$", lambda _request: answers[blind], times=10**9)
        else:
            server.fine_grained = True
        at(timedelta(seconds=70))
        turn()
        assert self.holding(server) == 0


class TestGather:
    role = (1, "r")

    def test_one_alone_is_read_at_once(self) -> None:
        reads: Gather[str] = Gather()
        reads.expect(self.role)
        assert reads.add(self.role, "a") == ["a"]
        assert reads.was_read(self.role) == []

    def test_it_waits_for_those_under_way_and_reads_all(self) -> None:
        reads: Gather[str] = Gather()
        for _ in range(3):
            reads.expect(self.role)
        assert reads.add(self.role, "a") == []
        assert reads.waiting == 1
        assert reads.add(self.role) == []  # came to nothing
        assert reads.add(self.role, "b") == ["a", "b"]
        assert reads.waiting == 0

    def test_enough_depends_on_how_long_the_list_is(self) -> None:
        reads: Gather[str] = Gather()
        assert reads.enough(self.role, LIST_FROM)
        reads.was_read(self.role, size=10_000)
        assert not reads.enough(self.role, 10_000 // gather.ROWS - 1)
        assert reads.enough(self.role, 10_000 // gather.ROWS)
        reads.was_read(self.role, in_vain=True)
        assert not reads.enough(self.role, 10_000)

    def test_what_is_done_waits_for_what_is_yet_to_be_taken_up(self) -> None:
        reads: Gather[str] = Gather()
        reads.was_read(self.role, size=10_000)
        reads.more = True
        for _ in range(LIST_FROM):
            reads.expect(self.role)
        for n in range(LIST_FROM):
            assert reads.add(self.role, str(n)) == []
        assert list(reads.late()) == []
        reads.more = False
        assert list(reads.late()) == [(self.role, [str(n) for n in range(LIST_FROM)])]

    def test_a_few_do_not_wait_for_what_is_yet_to_be_taken_up(self) -> None:
        reads: Gather[str] = Gather()
        reads.more = True
        reads.expect(self.role)
        assert reads.add(self.role, "a") == ["a"]

    def test_nobody_waits_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reads: Gather[str] = Gather()
        for _ in range(2):
            reads.expect(self.role)
        reads.add(self.role, "a")
        assert list(reads.late()) == []
        monkeypatch.setattr(gather, "PATIENCE", -1.0)
        assert list(reads.late()) == [(self.role, ["a"])]

    def test_while_it_is_read_the_next_wait_and_are_read_after(self) -> None:
        reads: Gather[str] = Gather()
        reads.expect(self.role)
        assert reads.add(self.role, "a") == ["a"]
        reads.expect(self.role)
        assert reads.add(self.role, "b") == []
        assert reads.was_read(self.role, size=1) == ["b"]


@pytest.mark.usefixtures("commits")
def test_a_provider_without_such_lists_is_read_one_by_one(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    idp = FakeIdP()
    monkeypatch.setattr(idp, "holders", lambda _role: None)
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 30))
    reconcile(BACKLOG, connect=lambda _idp: idp, more=lambda: True, providers=Providers())
    assert crowd.phases() == {"present": 30}


@pytest.mark.usefixtures("commits")
def test_batch_after_batch_waits_for_the_list_of_a_long_role(
    cast: Cast, at: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list pays for more than one batch. Fault: what is done is read alone as soon as no call is under way."""
    monkeypatch.setattr(gather, "ROWS", 4)  # of 400 who have it, 100 are enough for a list: two batches
    idp = FakeIdP()
    turn = partial(reconcile, BACKLOG, connect=lambda _idp: idp, more=lambda: True, providers=Providers())
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 400), lasts=timedelta(minutes=5))
    turn()
    idp.calls.clear()
    at(timedelta(minutes=6))
    turn()
    assert crowd.phases() == {"absent": 400}
    assert idp.done("revoke") == 400
    assert idp.done("read") <= 200


@pytest.mark.usefixtures("commits")
def test_a_lease_reads_no_more_than_what_it_takes(cast: Cast) -> None:
    """And for each binding only the grants of its person. Fault: a join of all open grants, a search for the lease,
    an order of urgencies that is sorted instead of read one by one.

    The planner knows the tables as they are; then grants as before the crowd came, when only the order that the
    statement forces helps. Without this it would know what an earlier test left in them.
    """
    crowd.hold(cast, crowd.join(cast, FakeKeycloak(), 2000))
    _, ours = leases.acquire(BACKLOG)
    acquired = {"urgencies": list(leases.Urgency), "but": [], "only": None, "limit": BACKLOG, "of_one_person": 20}
    told = {**acquired, "lease": ours[0].uuid, "lasts": "15 seconds", "ids": [lease.id for lease in ours]}

    def rows(node: dict[str, Any]) -> float:
        own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        return float(own + sum(rows(below) for below in node.get("Plans", ())))

    with connect("superuser", cursor_factory=ClientCursor) as superuser:

        def plan(statement: str) -> dict[str, Any]:
            ((found,),) = superuser.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", told).fetchall()
            return dict(found[0]["Plan"])

        superuser.execute("SET LOCAL enable_seqscan = off")  # of a table as small as this one some plans read all
        superuser.execute("ANALYZE grants_grant, grants_rolebinding, accounts_identity")
        for statement in (statements.ACQUIRE, statements.WANTED):
            found = plan(statement)
            assert rows(found) < 30 * BACKLOG, found
        superuser.execute("DELETE FROM pg_statistic WHERE starelid = 'grants_grant'::regclass")
        superuser.execute("UPDATE pg_class SET relpages = 8, reltuples = 0 WHERE oid = 'grants_grant'::regclass")
        found = plan(statements.WANTED)
        assert rows(found) < 30 * BACKLOG, found
        superuser.rollback()  # and with it what was said of the tables
