from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts import roles
from accounts.models import Subject


def signed_in(request: HttpRequest) -> Subject:
    """Return the person who calls. Raises PermissionDenied for others, whom LoginRequiredMiddleware stops before."""
    if not isinstance(request.user, Subject):
        # request.user is lazy; isinstance() looks at the object behind it.
        raise PermissionDenied("Sign in first.")
    roles.read_once(request.user)
    return request.user


def sees_all(request: HttpRequest) -> Subject:
    """Return the admin or auditor who calls. Raises PermissionDenied, with a sentence, for others."""
    subject = signed_in(request)
    if not roles.sees_all(subject):
        raise PermissionDenied("This page is open to admins and auditors.")
    return subject
