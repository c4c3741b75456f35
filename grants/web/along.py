"""What pages read along with requests: what was asked for, and what was decided; one query each."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch

from grants.lifecycle.models import Decision, RequestItem


def items(path: str = "items") -> Prefetch[Any]:
    """What was asked for, with where it is."""
    return Prefetch(path, RequestItem.objects.select_related("resource__connection"))


def decisions(path: str = "decisions") -> Prefetch[Any]:
    """The decisions with who decided, in their order."""
    return Prefetch(path, Decision.objects.select_related("approver").order_by("pk"))
