"""Say how the role of a grant stands at the identity provider: given, kept, taken back, overdue."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from accounts.idp import in_words
from accounts.models import IdP
from grants.lifecycle.bindings import OVERDUE
from grants.lifecycle.models import Grant, RoleBinding
from grants.lifecycle.read_models.grant import RoleGrants
from grants.policy.wording import duration
from grants.web.words import counts, times

Phase = RoleBinding.Phase


class RoleStanding(NamedTuple):
    """`state` is a key of states.STATES, "" where there is no role; `where` names the provider."""

    where: str
    state: str
    word: str
    text: str


def provider(idp: IdP) -> str:
    return in_words(idp.kind) or idp.slug


def standing(grant: Grant, binding: RoleBinding | None, others: RoleGrants, now: datetime) -> RoleStanding:
    """Say how the grant's role stands at `now`, as last read back."""
    if binding is None:
        text = "Your identity provider gives no roles to Stint: this access lives at the gate alone."
        return RoleStanding("At the provider", "", "", text)
    where = f"At {provider(binding.idp)}"
    if grant.is_live_at(now):
        if binding.phase == Phase.PRESENT:
            return RoleStanding(where, *_given(grant, binding))
        return RoleStanding(where, *_owed(binding, "Being given", now))
    if others.keeps:
        text = f"Also held by {_name(others, others.keeps)} until {_at(others.keeps.over_at, now)}."
        return RoleStanding(where, "info", "Kept", text)
    if binding.phase == Phase.KEPT:
        return RoleStanding(where, "info", "Kept", "The person had it before Stint.")
    if binding.phase == Phase.ABSENT and binding.given_at is None:
        return RoleStanding(where, "good", "Role not there", "It was never given.")
    if binding.phase == Phase.ABSENT:
        return RoleStanding(where, "good", "Role taken back", _taken(grant, binding, others))
    return RoleStanding(where, *_owed(binding, "Being taken back", now))


def _name(others: RoleGrants, grant: Grant) -> str:
    return grant.ref if grant.pk in others.visible else "another grant"


def _taken(grant: Grant, binding: RoleBinding, others: RoleGrants) -> str:
    if others.outlived_by:
        return f"With the end of {_name(others, others.outlived_by)}, which held it, too."
    return _after(binding.taken_at, grant.over_at, "the end")


def _given(grant: Grant, binding: RoleBinding) -> tuple[str, str, str]:
    if binding.found_before:
        return "good", "Role there", "The person had it before Stint, and keeps it."
    told = _after(binding.given_at, grant.starts_at, "approval")
    return "good", "Role given", told or "It was there from another grant."


def _owed(binding: RoleBinding, word: str, now: datetime) -> tuple[str, str, str]:
    """Describe a role that is not done: in progress, or late with the cause and the next try."""
    since = binding.owed_from
    if since is None or now - since <= OVERDUE:
        return "pending", word, binding.last_error
    tries = counts.count(binding.attempts, "try", "tries") if binding.attempts else "no worker has taken it up"
    following = f"next in {max(0, round((binding.due_at - now).total_seconds()))} s" if binding.due_at else ""
    told = ", ".join(filter(None, [f"Since {_at(since, now)}: {tries}", following]))
    return "bad", "Role overdue", f"{told}. {binding.last_error}".strip()


_OWED = {
    Phase.ABSENT: "to be given",
    Phase.ADDING: "to be given",
    Phase.KEPT: "to be given",
    Phase.PRESENT: "to be looked at",  # taken back or left, depending on its other grants
    Phase.REMOVING: "to be taken back",
}


def late(binding: RoleBinding, now: datetime) -> tuple[str, str]:
    """Describe an overdue role: what is to be done, since when, the cause and the next try."""
    word = _OWED[Phase(binding.phase)]
    _, _, text = _owed(binding, word, now)
    return word, text


def _at(moment: datetime, now: datetime) -> str:
    return times.when(moment, now, timezone.get_current_timezone())


def _after(done: datetime | None, due: datetime, what: str) -> str:
    """Say how soon it was done: "0.3 s after approval"; "" when it was done before."""
    if done is None or done < due:
        return ""
    seconds = (done - due).total_seconds()
    return f"{seconds:.1f} s after {what}." if seconds < 60 else f"{duration(done - due)} after {what}."
