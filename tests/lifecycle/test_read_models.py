"""What pages, and later the API and chat, read of one request, grant, resource or person. Pages are tested in tests/web."""

from __future__ import annotations

from datetime import timedelta

from accounts.models import Subject
from grants.lifecycle import access, decide, visibility
from grants.lifecycle.models import Grant
from grants.lifecycle.read_models import grant as grant_read
from grants.lifecycle.read_models import mine
from grants.lifecycle.read_models import request as request_read
from grants.lifecycle.read_models import resource as resource_read
from grants.policy.rulings import Source
from tests.cast import Cast


def test_a_request_says_what_its_viewer_may_do(cast: Cast) -> None:
    asked = cast.asks(minutes=60)
    views = {
        who.name: request_read.of(seen, who)
        for who in (cast.ada, cast.chiara)
        if (seen := visibility.request_of(who, asked.pk))
    }
    own, deciding = views["Ada"], views["Chiara"]
    assert (own.may_withdraw, own.may_decide, bool(own.refusal), own.asked_because) == (True, False, True, None)
    assert (deciding.may_withdraw, deciding.may_decide, deciding.refusal) == (False, True, "")
    assert deciding.asked_because
    assert deciding.asked_because.source == Source("owners")
    assert deciding.would_end == deciding.now + timedelta(minutes=60)
    decide.deny(asked, by=cast.chiara)
    seen = visibility.request_of(cast.chiara, asked.pk)
    assert seen
    denied = request_read.of(seen, cast.chiara)
    assert (denied.standing.state, denied.pending, denied.may_decide, denied.would_end) == (
        "denied",
        False,
        False,
        None,
    )


def test_a_grant_says_who_ended_it_and_who_still_may(cast: Cast) -> None:
    grant = held(cast)
    assert may(grant, cast.ada) == (True, False)
    assert may(grant, cast.chiara) == (False, True)  # who owns the resource
    access.give_back(grant, by=cast.ada)
    over = grant_read.of(again(grant, cast.ada), cast.ada)
    assert (over.standing.word, over.over, over.enders) == ("Ended early", True, {grant.pk: cast.ada})
    assert may(grant, cast.ada) == may(grant, cast.chiara) == (False, False)


def test_an_overview_tells_alerts_to_admins_and_auditors_alone(cast: Cast) -> None:
    held(cast)
    own = mine.overview_of(cast.ada)
    assert (own.resources_held, own.alerts) == (1, None)
    assert mine.overview_of(cast.priya).alerts is not None


def test_a_resource_says_who_owns_it_and_who_would_be_asked(cast: Cast) -> None:
    thing = visibility.resource_of(cast.ada, cast.deployment.pk)
    assert thing
    view = resource_read.of(thing, cast.ada)
    assert view.owner.name == "platform"
    assert view.can_ask
    assert view.asking
    assert {one.name for stage in view.asking.stages for one in stage.approvers} >= {"Chiara"}


def held(cast: Cast) -> Grant:
    asked = cast.asks(minutes=60)
    decide.approve(asked, by=cast.chiara)
    return Grant.objects.get(request=asked)


def again(grant: Grant, viewer: Subject) -> Grant:
    seen = visibility.grant_of(viewer, grant.pk)
    assert seen
    return seen


def may(grant: Grant, viewer: Subject) -> tuple[bool, bool]:
    view = grant_read.of(again(grant, viewer), viewer)
    return view.may_give_back, view.may_revoke
