from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts import roles
from accounts.models import Subject


def signed_in(request: HttpRequest) -> Subject:
    """Who calls. LoginRequiredMiddleware lets nobody else in; raises PermissionDenied if it did."""
    if not isinstance(request.user, Subject):
        # request.user is lazy: isinstance asks the object behind it.
        raise PermissionDenied("Sign in first.")
    roles.read_once(request.user)
    return request.user


def sees_all(request: HttpRequest) -> Subject:
    """The admin or auditor who calls. Raises PermissionDenied for anybody else, with a sentence for them."""
    subject = signed_in(request)
    if not roles.sees_all(subject):
        raise PermissionDenied("This page is open to admins and auditors.")
    return subject
