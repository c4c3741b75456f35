"""Sign-in by choosing a person, and the admin routes. django-oauth-toolkit implements the protocol."""

from __future__ import annotations

import hmac
import json
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from oauth2_provider.oauth2_validators import OAuth2Validator

from portal.demo.provider.models import Person

PAGE = 100


class PersonBackend:
    """A person who is switched off has no session."""

    def authenticate(self, _request: HttpRequest, **_: Any) -> None:
        return None

    def get_user(self, sub: str) -> Person | None:
        return Person.objects.filter(sub=sub, enabled=True).first()


class Validator(OAuth2Validator):
    """Puts the same claims into the ID token and userinfo: `groups` and `roles` as they are now."""

    oidc_claim_scope = None

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        person = Person.objects.get(sub=request.user.pk)
        return {
            "preferred_username": person.username,
            "name": person.name,
            "email": person.email,
            "email_verified": True,
            "groups": person.groups,
            "roles": person.roles,
        }

    def validate_silent_login(self, _request: Any) -> bool:
        """Allow prompt=none: the view has answered people who are not signed in before it calls this."""
        return True

    def validate_silent_authorization(self, _request: Any) -> bool:
        """Ask nobody for consent: the portal is the only client."""
        return True


@require_http_methods(["GET", "POST"])
def signin(request: HttpRequest) -> HttpResponse:
    """Show the people to choose from. There are no passwords, because this provider listens on this machine only."""
    following = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(following, {request.get_host()}):
        following = settings.PORTAL
    if request.method == "POST":
        person = Person.objects.filter(sub=request.POST.get("sub", ""), enabled=True).first()
        if person:
            login(request, person, backend=settings.AUTHENTICATION_BACKENDS[0])
            return redirect(following)
    people = Person.objects.filter(enabled=True)
    return render(request, "signin.html", {"people": people, "portal": settings.PORTAL})


@csrf_exempt
@require_http_methods(["GET", "PATCH"])
def users(request: HttpRequest, sub: str = "") -> JsonResponse:
    """GET /admin/users?offset=: people by pages. GET or PATCH /admin/users/SUB: one; `enabled`, `groups`."""
    if not _admin(request):
        return JsonResponse({"error": "the directory needs its secret"}, status=401)
    if request.method == "GET" and not sub:
        offset = request.GET.get("offset", "0")
        if not offset.isdecimal():
            return JsonResponse({"error": "offset must be a number"}, status=400)
        people = list(Person.objects.order_by("sub")[int(offset) : int(offset) + PAGE + 1])
        following = int(offset) + PAGE if len(people) > PAGE else None
        return JsonResponse({"users": [person.as_json() for person in people[:PAGE]], "next": following})
    person = Person.objects.filter(sub=sub).first()
    if person is None:
        return JsonResponse({"error": "there is nobody of this id"}, status=404)
    if request.method == "GET":
        return JsonResponse(person.as_json())
    try:
        given = json.loads(request.body)
        person.enabled = bool(given.get("enabled", person.enabled))
        person.groups = [str(group) for group in given.get("groups", person.groups)]
    except (ValueError, AttributeError, TypeError):
        return JsonResponse({"error": "a JSON object with `enabled` or `groups` is wanted"}, status=400)
    person.save(update_fields=["enabled", "groups"])
    return JsonResponse(person.as_json())


@csrf_exempt
@require_http_methods(["PUT", "DELETE"])
def roles(request: HttpRequest, sub: str, role: str) -> HttpResponse:
    """PUT or DELETE /admin/users/SUB/roles/NAME: give or take the role. Repeating is no error."""
    if not _admin(request):
        return JsonResponse({"error": "the directory needs its secret"}, status=401)
    with transaction.atomic():  # SQLite transactions are IMMEDIATE here, so two at once queue
        person = Person.objects.filter(sub=sub).first()
        if person is None:
            return JsonResponse({"error": "there is nobody of this id"}, status=404)
        held = set(person.roles) | {role} if request.method == "PUT" else set(person.roles) - {role}
        person.roles = sorted(held)
        person.save(update_fields=["roles"])
    return HttpResponse(status=204)


def _admin(request: HttpRequest) -> bool:
    wanted = f"Bearer {settings.ADMIN_SECRET}".encode()
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted)
