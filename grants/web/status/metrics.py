"""Serve /metrics."""

from __future__ import annotations

from http import HTTPStatus

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from accounts import roles
from accounts.models import Subject
from grants import clock
from grants.web.status.measures import exposition


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Send metrics to the bearer of STINT_METRICS_TOKEN, or to an admin or auditor who is signed in."""
    refused = _may_scrape(request)
    if refused:
        response = HttpResponse("Not allowed.\n", status=refused, content_type="text/plain; charset=utf-8")
        if refused == HTTPStatus.UNAUTHORIZED:
            response["WWW-Authenticate"] = 'Bearer realm="stint"'
        return response
    return HttpResponse(exposition(clock.of_page()), content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> int:
    """Return 0 if allowed, else the status: 401 for an unknown caller, 403 for a known one without the right."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = settings.ENV.metrics_token
    if scheme.lower() == "bearer":
        wanted = token.get_secret_value() if token else ""
        return 0 if wanted and constant_time_compare(given.strip(), wanted) else 401
    if not isinstance(request.user, Subject):
        return 401
    return 0 if roles.sees_all(request.user) else 403
