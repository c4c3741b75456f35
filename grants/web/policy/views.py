"""Show the policy in force."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import roles
from grants import clock
from grants.policy import versions
from grants.policy.models import PolicyVersion
from grants.policy.people import named
from grants.web.policy import in_words
from grants.web.signed_in import signed_in

VERSIONS = 20


@require_safe
def policy(request: HttpRequest) -> HttpResponse:
    """Show the policy in words; owners, fallback and versions only to admins and auditors."""
    subject = signed_in(request)
    all_seen = roles.sees_all(subject)
    judged, row = versions.in_force(), versions.in_force_row()
    in_force = named(judged) if judged else None
    context: dict[str, Any] = {
        "now": clock.of_page(),
        "row": row,
        "unreadable": versions.in_force_problem(),
        "all_seen": all_seen,
        "rules": in_words.rules(in_force, hidden_too=all_seen) if in_force else [],
    }
    if all_seen:
        context |= {
            "owners": in_words.owners(in_force) if in_force else [],
            "fallback": in_words.fallback(in_force) if in_force else "",
            "versions": PolicyVersion.objects.select_related("applied_by").defer("text")[:VERSIONS],
            "refusal": versions.refusal_since(row),
        }
    return render(request, "policy/policy.html", context)
