"""The pages for signing in and out, for a failed sign-in and for recovery."""

from __future__ import annotations

from typing import Any, override

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_safe
from mozilla_django_oidc.views import OIDCLogoutView

from accounts import idp, recover, sessions, sso
from accounts.models import Subject
from accounts.sign_in_failures import explain, known_code


@login_not_required
@require_safe
def signin(request: HttpRequest) -> HttpResponse:
    """Show the button that leads to the identity provider."""
    if request.user.is_authenticated:
        return redirect("home")
    who = idp.in_words(idp.default().kind) or "your identity provider"
    return render(request, "accounts/signin.html", {"next": _safe_next(request), "who": who})


@login_not_required
@require_safe
def signin_failed(request: HttpRequest) -> HttpResponse:
    """Say why the sign-in failed, with the code that is in the log, too."""
    code = known_code(request.GET.get("code", ""))
    problem, advice = explain(code)
    later = code in ("PROVIDER_BUSY", "PROVIDER_DOWN")
    page = {"code": code, "problem": problem, "advice": advice}
    response = render(request, "accounts/signin_failed.html", page, status=503 if later else 403)
    if later:
        response["Retry-After"] = "5"
    return response


@method_decorator(login_not_required, name="dispatch")
class Authenticate(sso.Authenticate):
    pass


@method_decorator(login_not_required, name="dispatch")
class Callback(sso.Callback):
    pass


class SignOut(OIDCLogoutView):
    """Signs out here, then at the provider; accepts only POST."""

    @override
    def post(self, request: HttpRequest) -> HttpResponse:
        assert isinstance(request.user, Subject)
        sessions.end(request.user)
        response: HttpResponse = super().post(request)
        return response


@require_http_methods(["GET", "HEAD", "POST"])
def recover_page(request: HttpRequest) -> HttpResponse:
    """Ask for a recovery code. It is never in a link, because URLs end up in histories and logs."""
    assert isinstance(request.user, Subject)
    context: dict[str, Any] = {"minutes": recover.MINUTES}
    if request.method != "POST":
        return render(request, "accounts/recover.html", context)
    try:
        recover.use_code(request.POST.get("code", "")[:100], by=request.user)
    except recover.TooManyTries as error:
        context["error"] = error.reason
        response = render(request, "accounts/recover.html", context, status=429)
        response["Retry-After"] = str(error.seconds)
        return response
    except recover.NotRecovered as error:
        context["error"] = error.reason
        return render(request, "accounts/recover.html", context, status=422)
    messages.success(request, "You are an admin now. This was recorded.")
    return redirect("home")


def _safe_next(request: HttpRequest) -> str:
    wanted = request.GET.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else "/"
