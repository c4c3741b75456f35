"""Ask, decide, hold, end: each action with its one event, and who may not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import transaction

from accounts.errors import Conflict, NotAllowed
from accounts.models import Membership, Subject
from grants import clock
from grants.audit import Verb, record
from grants.audit.models import AuditEvent
from grants.lifecycle import access, decide, visibility
from grants.lifecycle.ask import Wanted, ask, preview
from grants.lifecycle.models import Grant, Request
from grants.lifecycle.stages import Approvers
from grants.policy import versions
from tests.cast import POLICY, Cast

Move = Callable[[datetime | timedelta | None], datetime]


def verbs(after: int = 0) -> list[str]:
    return list(AuditEvent.objects.filter(seq__gt=after).order_by("seq").values_list("verb", flat=True))


def seq() -> int:
    last = AuditEvent.objects.order_by("-seq").first()
    return last.seq if last else 0


def test_the_whole_story(cast: Cast, at: Move) -> None:
    start = seq()
    request = cast.asks()
    assert [r.pk for r in decide.waiting_for(cast.chiara)] == [request.pk]
    assert decide.waiting_for(cast.ben) == decide.waiting_for(cast.ada) == decide.waiting_for(cast.priya) == []

    decide.approve(request, by=cast.chiara)
    grant = request.grants.get()
    now = clock.now()
    assert grant.is_live_at(now)
    assert grant.ends_at - grant.starts_at == timedelta(minutes=30)
    assert list(Grant.objects.live_at(now)) == [grant]
    assert grant.version == seq()

    later = at(timedelta(minutes=30))
    assert not grant.is_live_at(later)  # nobody has swept yet
    assert not Grant.objects.live_at(later).exists()
    assert access.close_elapsed() == 1
    assert access.close_elapsed() == 0
    grant.refresh_from_db()
    assert (grant.end_reason, grant.ended_at) == ("elapsed", None)
    assert verbs(start) == ["request.asked", "request.approved", "grant.elapsed"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("a" + " " * 20 + "b", "reason_length"),
        ("\u3164" * 20, "reason_length"),
        ("a long \u202e reason", "reason_hides"),
    ],
)
def test_a_reason_can_be_seen(cast: Cast, reason: str, code: str) -> None:
    """Fault: twenty blanks are a reason of twenty characters."""
    with pytest.raises(NotAllowed) as refused:
        cast.asks(reason=reason)
    assert refused.value.code == code
    assert not Request.objects.exists()


def test_a_note_hides_nothing(cast: Cast) -> None:
    request = cast.asks()
    with pytest.raises(NotAllowed, match=r"U\+2066"):
        decide.approve(request, by=cast.chiara, note="fine \u2066by me")
    assert decide.waiting_for(cast.chiara)


def test_preview_promises_what_ask_does(cast: Cast) -> None:
    wanted = [Wanted(cast.deployment, "run"), Wanted(cast.deployment, "operate")]
    seen = preview(wanted, by=cast.ada, duration=timedelta(hours=1))
    request = cast.asks(cast.ada, *wanted, minutes=60)
    assert request.stages == [view.stage.to_json() for view in seen.stages]
    assert request.policy_version_id == seen.policy_version
    assert seen.problem == ""


@pytest.mark.parametrize("minutes", [0, -5, 8 * 60 + 1])
def test_length_is_the_rules(cast: Cast, minutes: int) -> None:
    assert preview([Wanted(cast.deployment, "run")], by=cast.ada, duration=timedelta(minutes=minutes)).problem
    with pytest.raises(NotAllowed):
        cast.asks(minutes=minutes)


def test_a_reason_is_asked_for(cast: Cast) -> None:
    with pytest.raises(NotAllowed, match="10"):
        ask(
            [Wanted(cast.deployment, "run")],
            by=cast.ada,
            duration=timedelta(hours=1),
            reason="  now   ",
            idempotency_key="k",
        )
    assert not Request.objects.exists()


def test_nobody_can_approve_is_said_at_once(cast: Cast) -> None:
    """The deployment has no owner and the fallback team no members."""
    assert "Nobody can approve" in preview([Wanted(cast.orphan, "run")], by=cast.ada).problem
    with pytest.raises(NotAllowed, match="Nobody can approve"):
        cast.asks(cast.ada, (cast.orphan, "run"))


def test_a_person_counts_once_so_two_owners_are_too_few_for_three(cast: Cast) -> None:
    """One of the owners for the deployment, then two of the same for the pool."""
    wanted = [Wanted(cast.deployment, "run"), Wanted(cast.pool, "run")]
    assert "counts once" in preview(wanted, by=cast.ada).problem
    with pytest.raises(NotAllowed):
        cast.asks(cast.ada, *wanted)


def test_the_only_owner_cannot_be_asked_by_herself(cast: Cast) -> None:
    """chiara asks: tomasz alone is left, and the pool needs two."""
    problem = preview([Wanted(cast.pool, "run")], by=cast.chiara).problem
    assert "Only 1 of the 2" in problem


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ("server", "view"),
        ("deployment", "manage"),
        ("deployment", "admin"),
        ("pool", "work"),
        ("pool", "nonsense"),
    ],
)
def test_no_rule_no_access(cast: Cast, what: str, level: str) -> None:
    with pytest.raises(NotAllowed):
        cast.asks(cast.ada, (getattr(cast, what), level))


def test_no_policy_no_access(db: None, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "in_force", lambda: None)
    with pytest.raises(NotAllowed, match="No policy"):
        cast.asks()


def test_a_pool_needs_two(cast: Cast) -> None:
    start = seq()
    request = cast.asks(cast.ada, (cast.pool, "run"))
    decide.approve(request, by=cast.chiara)
    assert not request.grants.exists()
    with pytest.raises(Conflict, match="You have approved this already"):
        decide.approve(request, by=cast.chiara)
    decide.approve(request, by=cast.tomasz)
    assert request.grants.count() == 1
    assert verbs(start) == ["request.asked", "request.voted", "request.approved"]


def test_an_approver_may_change_their_mind_while_it_is_pending(cast: Cast) -> None:
    request = cast.asks(cast.ada, (cast.pool, "run"))
    decide.approve(request, by=cast.chiara)
    denied = decide.deny(request, by=cast.chiara, note="On second thought, no.")
    assert denied.state == "denied"
    assert list(request.decisions.order_by("pk").values_list("verdict", "superseded")) == [
        ("approve", True),
        ("deny", False),
    ]


@pytest.mark.parametrize("name", ["ada", "ben", "priya", "olga", "oscar"])
def test_who_is_not_asked_cannot_decide(cast: Cast, name: str) -> None:
    request = cast.asks()
    somebody = getattr(cast, name)
    for act in (decide.approve, decide.deny):
        with pytest.raises(NotAllowed):
            act(request, by=somebody)
    assert decide.why_not(request, somebody, Approvers.now())
    request.refresh_from_db()
    assert request.state == "pending"


def test_an_owner_does_not_decide_their_own(cast: Cast) -> None:
    request = cast.asks(cast.chiara)
    with pytest.raises(NotAllowed, match="yourself"):
        decide.approve(request, by=cast.chiara)
    decide.approve(request, by=cast.tomasz)


def test_an_owner_is_not_listed_for_their_own(cast: Cast) -> None:
    """Neither shown as somebody who can decide nor, therefore, told by mail."""
    request = cast.asks(cast.chiara)
    (view,) = decide.stages_of(request)
    assert view.approvers == (cast.tomasz,)


def test_being_told_is_no_authority(cast: Cast) -> None:
    """chiara leaves the team after the asking: who qualifies is judged at deciding."""
    request = cast.asks()
    with transaction.atomic():
        Membership.objects.filter(subject=cast.chiara).delete()
        record(Verb.SUBJECT_CHANGED, by="test", on=[cast.chiara])
    with pytest.raises(NotAllowed):
        decide.approve(request, by=cast.chiara)
    decide.approve(request, by=cast.tomasz)


def test_what_the_policy_now_forbids_is_not_granted(cast: Cast) -> None:
    request = cast.asks(minutes=120)
    versions.apply(POLICY.replace("longest: 8h", "longest: 1h"), by=None)
    with pytest.raises(NotAllowed, match="policy has changed"):
        decide.approve(request, by=cast.chiara)
    decide.deny(request, by=cast.chiara)


def test_nothing_is_granted_to_who_left(cast: Cast) -> None:
    request = cast.asks()
    _leaves(cast.ada)
    with pytest.raises(NotAllowed, match="switched off"):
        decide.approve(request, by=cast.chiara)


def _leaves(subject: Subject) -> None:
    with transaction.atomic():
        Subject.objects.filter(pk=subject.pk).update(active=False)
        record(Verb.SUBJECT_CHANGED, by="test", on=[subject])


def test_who_leaves_holds_nothing(cast: Cast) -> None:
    request = decide.approve(cast.asks(), by=cast.chiara)
    _leaves(cast.ada)
    assert access.close_left() == 1
    grant = request.grants.get()
    assert grant.end_reason == "left"
    assert not grant.is_live_at(clock.now())


def test_what_is_gone_is_held_by_nobody(cast: Cast) -> None:
    request = decide.approve(cast.asks(), by=cast.chiara)
    with transaction.atomic():
        type(cast.deployment).objects.filter(pk=cast.deployment.pk).update(retired_at=clock.now())
        record(Verb.CATALOG_SYNCED, by="test", on=[cast.deployment])
    assert access.close_retired() == 1
    assert request.grants.get().end_reason == "retired"
    cast.deployment.refresh_from_db()
    with pytest.raises(NotAllowed, match="gone"):
        cast.asks()


def test_withdraw_is_the_askers(cast: Cast) -> None:
    request = cast.asks()
    for somebody in (cast.ben, cast.chiara, cast.priya):
        with pytest.raises(NotAllowed):
            decide.withdraw(request, by=somebody)
    decide.withdraw(request, by=cast.ada)
    with pytest.raises(Conflict, match="withdrawn"):
        decide.approve(request, by=cast.chiara)
    with pytest.raises(Conflict):
        decide.withdraw(request, by=cast.ada)
    cast.asks()  # and may be asked again


def test_nobody_decides_and_it_lapses(cast: Cast, at: Move) -> None:
    request = cast.asks()
    at(timedelta(days=3))
    with pytest.raises(Conflict, match="lapsed"):  # before any sweep
        decide.approve(request, by=cast.chiara)
    assert decide.waiting_for(cast.chiara) == []
    assert (decide.lapse(), decide.lapse()) == (1, 0)
    request.refresh_from_db()
    assert request.state == "lapsed"


def test_give_back_is_the_holders(cast: Cast) -> None:
    grant = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    for somebody in (cast.ben, cast.chiara, cast.priya):
        with pytest.raises(NotAllowed):
            access.give_back(grant, by=somebody)
    ended = access.give_back(grant, by=cast.ada)
    assert ended.end_reason == "given_back"
    assert not ended.is_live_at(clock.now())
    with pytest.raises(Conflict):
        access.give_back(grant, by=cast.ada)
    with pytest.raises(Conflict):
        access.revoke(grant, by=cast.chiara)


@pytest.mark.parametrize(("name", "may"), [("chiara", True), ("tomasz", True), ("priya", True), ("ada", False), ("ben", False), ("olga", False), ("oscar", False)])  # fmt: skip
def test_revoke_is_the_owners_and_the_admins(cast: Cast, name: str, may: bool) -> None:
    grant = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    somebody = getattr(cast, name)
    assert access.may_revoke(grant, somebody) is may
    if may:
        assert access.revoke(grant, by=somebody).end_reason == "revoked"
    else:
        with pytest.raises(NotAllowed):
            access.revoke(grant, by=somebody)


def test_over_is_over_before_any_sweep(cast: Cast, at: Move) -> None:
    grant = decide.approve(cast.asks(), by=cast.chiara).grants.get()
    at(timedelta(minutes=30))
    for act, by in ((access.give_back, cast.ada), (access.revoke, cast.chiara)):
        with pytest.raises(Conflict, match="over"):
            act(grant, by=by)


def test_the_same_form_twice_is_one_request(cast: Cast) -> None:
    assert cast.asks(key="k").pk == cast.asks(key="k").pk
    with pytest.raises(Conflict):
        cast.asks(key="k", minutes=31)


def test_one_pending_ask_for_one_thing(cast: Cast) -> None:
    request = cast.asks()
    with pytest.raises(NotAllowed, match=request.ref):
        cast.asks()
    cast.asks(cast.ben)  # a mate may ask for the same


@pytest.mark.parametrize(
    ("name", "sees"),
    [
        ("ada", True),
        ("ben", False),
        ("chiara", True),
        ("tomasz", True),
        ("priya", True),
        ("olga", True),
        ("oscar", False),
    ],
)
def test_who_sees_what(cast: Cast, name: str, sees: bool) -> None:
    request = decide.approve(cast.asks(), by=cast.chiara)
    somebody = getattr(cast, name)
    assert (visibility.request_of(somebody, request.pk) is not None) is sees
    grant = request.grants.get()
    assert (visibility.grant_of(somebody, grant.pk) is not None) is sees
    assert visibility.shown(somebody, [grant]) == [grant] * sees
    asked = [item.request_id for item in visibility.asked_of(somebody, cast.deployment)]
    assert asked == [request.pk] * sees
    again = cast.asks(reason="The same once more, for the same reason")
    before = [item.request_id for item in visibility.before(somebody, again)]
    assert before == [request.pk] * sees


def test_what_waits_for_somebody_is_what_they_can_decide(cast: Cast) -> None:
    """The inbox looks for requests that may name a person; nobody whom the rules ask may be missed by it."""
    asked = [
        cast.asks(cast.ada, (cast.deployment, "run")),
        cast.asks(cast.ben, (cast.pool, "operate")),
        cast.asks(cast.oscar, (cast.deployment, "view")),
    ]
    for round_ in range(2):
        approvers = Approvers.now()
        for person in Subject.objects.filter(kind="person"):
            wanted = [request for request in asked if not decide.why_not(_again(request), person, approvers)]
            assert decide.waiting_for(person) == wanted, (round_, person.name)
        if round_ == 0:  # one of two has voted in the second round
            decide.approve(asked[1], by=decide.stages_of(_again(asked[1]))[0].approvers[0])


def test_what_waits_for_who_stands_in_is_what_they_can_decide(cast: Cast) -> None:
    """Nobody owns one of these, the other needs more people than own it: ada and ben stand in, but not for themselves."""
    text = POLICY.replace("team: sre", "team: ingest").replace("need: 2", "need: 3")
    versions.apply(text, by=cast.priya)
    asked = [
        cast.asks(cast.oscar, (cast.orphan, "run")),
        cast.asks(cast.chiara, (cast.pool, "run")),
        cast.asks(cast.ada, (cast.orphan, "view")),
    ]
    names = {}
    for person in Subject.objects.filter(kind="person"):
        wanted = [one for one in asked if not decide.why_not(_again(one), person, Approvers.now())]
        assert decide.waiting_for(person) == wanted, person.name
        names[person.name] = [asked.index(one) for one in wanted]
    assert names == {"Ada": [0, 1], "Ben": [0, 1, 2], "Tomasz": [1], "Chiara": [], "Priya": [], "Olga": [], "Oscar": []}


def _again(request: Request) -> Request:
    return Request.objects.get(pk=request.pk)
