"""The tokens of one grant and what was done with them, as one person sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.models import Subject
from grants.lifecycle.models import Grant
from grants.tokens import issue, usage


@dataclass(frozen=True, slots=True)
class TokensView:
    tokens: Sequence[issue.Listed]  # the newest first
    may_issue: bool
    may_end: bool
    used: Sequence[usage.RouteUsage]
    refusals: Sequence[usage.RefusalCount]


def of(grant: Grant, viewer: Subject) -> TokensView:
    tokens = issue.of_grant(grant)
    used, refusals = usage.of_grant(grant) if tokens else usage.NOTHING
    return TokensView(tokens, issue.may_issue(grant, viewer), issue.acts_on(grant, viewer), used, refusals)
