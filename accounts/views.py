"""Sign in, sign out, why it failed, and the way back in."""

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

_ASK_ADMIN = "Tell an admin this code; the log has the details beside it."
# What went wrong and what to do, for each reason code that people can act on.
REASONS: dict[str, tuple[str, str]] = {
    "PROVIDER_DOWN": ("The identity provider does not answer.", "Wait a minute and try again."),
    "PROVIDER_BUSY": (
        "Too many people wait for the identity provider.",
        "It answers slowly at the moment. Try again in a few seconds.",
    ),
    "PROVIDER_REFUSED": (
        "The identity provider said no.",
        "You may have no access to Stint there. Try again, or ask your admin.",
    ),
    "PROVIDER_ANSWER": ("The identity provider's answer makes no sense.", _ASK_ADMIN),
    "SESSION_OVER": (
        "Your session at the identity provider is over.",
        "Sign in again; what you were doing is kept where it was.",
    ),
    "STATE_UNKNOWN": (
        "This sign-in was begun elsewhere, or too long ago.",
        "Begin it again here. If that repeats, allow cookies for this site.",
    ),
    "CODE_MISSING": ("The identity provider sent nothing to sign in with.", "Begin again."),
    "INACTIVE": ("Your account is switched off.", "Ask your admin; it follows the identity provider."),
    "EXPIRED": (
        "The proof of who you are had expired.",
        "Try again. If that repeats, a clock is wrong: tell an admin.",
    ),
    "IAT_FUTURE": ("The proof of who you are is from the future.", "A clock is wrong: tell an admin."),
    "NBF_FUTURE": ("The proof of who you are is from the future.", "A clock is wrong: tell an admin."),
}
CODES = frozenset(
    {*REASONS, "ALG_NOT_ALLOWED", "SIG_BAD", "KID_UNKNOWN", "KID_AMBIGUOUS", "KEY_BAD", "MALFORMED",
     "ISS_MISMATCH", "AUD_MISMATCH", "AZP_MISMATCH", "CLAIM_MISSING", "SUB_MISSING", "SUB_MISMATCH", "NONCE_MISMATCH",
     "TYP_MISMATCH", "AT_HASH_MISMATCH", "KEY_WEAK", "UNKNOWN"}
)  # fmt: skip


@login_not_required
@require_safe
def signin(request: HttpRequest) -> HttpResponse:
    """One button; there is no password here."""
    if request.user.is_authenticated:
        return redirect("home")
    who = idp.in_words(idp.default().kind) or "your identity provider"
    return render(request, "accounts/signin.html", {"next": _safe_next(request), "who": who})


@login_not_required
@require_safe
def signin_failed(request: HttpRequest) -> HttpResponse:
    """Why nobody was signed in, by a code that the log has, too."""
    code = request.GET.get("code", "")
    code = code if code in CODES else "UNKNOWN"
    why, what = REASONS.get(code, ("The proof of who you are did not hold.", _ASK_ADMIN))
    later = code in ("PROVIDER_BUSY", "PROVIDER_DOWN")
    page = {"code": code, "why": why, "what": what}
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
    """Out here, then at the provider. POST alone."""

    @override
    def post(self, request: HttpRequest) -> HttpResponse:
        assert isinstance(request.user, Subject)
        sessions.end(request.user)
        response: HttpResponse = super().post(request)
        return response


@require_http_methods(["GET", "HEAD", "POST"])
def recover_page(request: HttpRequest) -> HttpResponse:
    """Type a recovery code. Never a link: what is in a URL ends up in histories and logs."""
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
    messages.success(request, "You are an admin now. That is in the record.")
    return redirect("home")


def _safe_next(request: HttpRequest) -> str:
    wanted = request.GET.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else "/"
