"""Sign-in by OpenID Connect, with the flow of mozilla-django-oidc and its known holes closed.

The library's states, nonces and PKCE are used as they are. All calls to the provider, all checks of tokens and the
lookup of the person are Stint's own. docs/holes.md says what closes each hole.
"""

from __future__ import annotations

import time
from typing import Any, override
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY
from django.core.exceptions import SuspiciousOperation
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.middleware import SessionRefresh
from mozilla_django_oidc.utils import absolutify
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from accounts import names, people, sessions
from accounts.clock import now
from accounts.idp import default, provider, row_of
from accounts.jose import SIZE_MAX, BadToken, UnknownKey, verify_id_token
from accounts.models import Identity, Membership, Subject
from accounts.profile import signed_in_person
from accounts.provider import SignInRefused
from accounts.request_cache import uncached
from accounts.signals import happened

log = structlog.get_logger(__name__)

BEGUN_SECONDS = 600  # for the way to the provider and back


def setting(attr: str, *default: Any) -> Any:
    """Return a setting of mozilla-django-oidc; the provider's addresses come from discovery when they are needed."""
    if attr.startswith("OIDC_OP_"):
        return ""
    return getattr(settings, attr, *default)


class Backend(OIDCAuthenticationBackend):
    """Finds the person that a checked ID token is about, by (provider, sub) and by nothing else."""

    get_settings = staticmethod(setting)

    @override
    def authenticate(self, request: HttpRequest | None, **given: Any) -> Subject | None:
        """Return the person, or None with the reason code on the request, for the page."""
        if request is None:
            return None
        try:
            return self._sign_in(request, given.get("nonce"), given.get("code_verifier"))
        except (SignInRefused, BadToken) as error:
            request.sign_in_code = error.code  # type: ignore[attr-defined]
            log.warning("sign_in_refused", code=error.code, detail=getattr(error, "detail", ""))
            return None

    @override
    def get_user(self, user_id: int) -> Subject | None:
        """Return the person of a session; None once the account is switched off, which ends the session."""
        return signed_in_person(user_id)

    def _sign_in(self, request: HttpRequest, nonce: str | None, verifier: str | None) -> Subject:
        if not nonce or not verifier:
            raise SignInRefused("STATE_UNKNOWN")
        with provider().turn():
            claims = self._asked(request, nonce, verifier)
        try:
            return _person(request, claims)
        except IntegrityError:
            return _person(request, claims)  # a sign-in in another tab made the person first

    def _asked(self, request: HttpRequest, nonce: str, verifier: str) -> dict[str, Any]:
        """The claims about the person: the userinfo, overridden by the checked ID token."""
        answer = provider().token(
            {
                "grant_type": "authorization_code",
                "client_id": self.OIDC_RP_CLIENT_ID,
                "client_secret": self.OIDC_RP_CLIENT_SECRET,
                "code": request.GET.get("code", ""),
                "redirect_uri": absolutify(request, reverse("oidc_authentication_callback")),
                "code_verifier": verifier,
            }
        )
        access_token = answer.get("access_token")
        if not isinstance(access_token, str) or names.odd(access_token, SIZE_MAX) or not access_token.isascii():
            raise SignInRefused("PROVIDER_ANSWER", "no access token")
        claims = self._checked(answer.get("id_token"), nonce, access_token)
        info = provider().userinfo(access_token)
        if info.get("sub") != claims["sub"]:
            raise SignInRefused("SUB_MISMATCH")
        request.id_token = answer["id_token"]  # type: ignore[attr-defined]
        return {**info, **claims}

    def _checked(self, token: object, nonce: str, access_token: str) -> dict[str, Any]:
        idp = provider()
        terms = {
            "issuer": idp.issuer_in_tokens,
            "client_id": self.OIDC_RP_CLIENT_ID,
            "nonce": nonce,
            "access_token": access_token,
            "now": now(),
        }
        try:
            return verify_id_token(token, idp.keys(), **terms)
        except UnknownKey:
            return verify_id_token(token, idp.keys(reload=True), **terms)


def _person(request: HttpRequest, claims: dict[str, Any]) -> Subject:
    """Return the subject of these claims, made at the first sign-in and updated at each; record one event."""
    chosen = default()
    entitlements = people.entitlements_in(claims, chosen)
    username = claims.get("preferred_username")
    name, email = claims.get("name") or username, claims.get("email", "")
    with transaction.atomic():
        idp = row_of(chosen)
        known = Identity.objects.select_related("subject").filter(idp=idp, external_id=claims["sub"]).first()
        if known is None:
            subject = people.add_person(idp, claims["sub"], name=name, email=email, username=username)
        else:
            subject = known.subject
            if not subject.active:
                raise SignInRefused("INACTIVE", subject.ref)
            people.update_person(known, name=name, email=email, username=username)
        changed = entitlements is not None and people.set_teams(subject, entitlements.teams, Membership.Source.OIDC)
        first = people.is_first_admin(claims["sub"], chosen)
        given, taken = people.set_roles(subject, entitlements and entitlements.roles, first_admin=first)
        again = request.user.is_authenticated and request.user.pk == subject.pk
        if not again or changed or given or taken:
            happened.send(
                sender=Backend,
                verb="subject.changed" if again else "subject.signed_in",
                by=subject,
                subjects=[subject] if known is None or changed else [],
                facts={
                    "subject": subject.pk,
                    "roles_given": given,
                    "roles_taken": taken,
                    "new": known is None,
                },
            )
    if odd := names.said(
        {"group": entitlements.left_out if entitlements else (), "user name": people.odd_user_name(username)}
    ):
        log.warning("names_left_out", subject=subject.ref, what=odd)
    return subject


class Authenticate(OIDCAuthenticationRequestView):
    """Sends the browser to the provider."""

    get_settings = staticmethod(setting)

    @override
    def get(self, request: HttpRequest) -> HttpResponse:
        try:
            self.OIDC_OP_AUTH_ENDPOINT = provider().endpoint("authorization_endpoint")
        except SignInRefused as error:
            return redirect_to_reason(error.code, error.detail)
        response: HttpResponse = super().get(request)
        if not request.user.is_authenticated:
            request.session.set_expiry(BEGUN_SECONDS)  # anybody can make such a session, so it is kept for a short time
        return response


class Callback(OIDCAuthenticationCallbackView):
    """Where the provider sends the browser back to."""

    get_settings = staticmethod(setting)

    @override
    @uncached()
    def get(self, request: HttpRequest) -> HttpResponse:
        states = request.session.get("oidc_states", {})
        if request.GET.get("state") not in states:
            return redirect_to_reason("STATE_UNKNOWN")  # so a forged error signs nobody out
        try:
            if _from_another(request):
                return redirect_to_reason("ISS_MISMATCH", "in the callback")
            if "error" not in request.GET and not request.GET.get("code"):
                return redirect_to_reason("CODE_MISSING")
            before = request.user if request.user.is_authenticated else None
            response: HttpResponse = super().get(request)
            if before and request.user.pk != before.pk:
                sessions.end(before)  # the person's session is over at the provider, or another person signed in
            return response
        except SignInRefused as error:
            return redirect_to_reason(error.code, error.detail)
        except SuspiciousOperation as error:
            return redirect_to_reason("STATE_UNKNOWN", str(error))

    @override
    def login_success(self) -> HttpResponse:
        response: HttpResponse = super().login_success()
        self.request.session.set_expiry(None)  # back to the normal age: the sign-in is complete
        # The hint for sign-out. Set after login(), which empties the session when another person was signed in.
        self.request.session["oidc_id_token"] = self.request.id_token
        return response

    @override
    def login_failure(self) -> HttpResponse:
        error = self.request.GET.get("error", "")
        if error in (
            "login_required",
            "interaction_required",
            "consent_required",
            "account_selection_required",
        ):
            return redirect_to_reason("SESSION_OVER", error)
        if error:
            return redirect_to_reason("PROVIDER_REFUSED", error[:80])
        return redirect_to_reason(getattr(self.request, "sign_in_code", "UNKNOWN"), logged=True)


def _from_another(request: HttpRequest) -> bool:
    """Is the answer from another provider (RFC 9207)? An answer must have `iss` when the provider promises it."""
    named = provider().discovery().get("authorization_response_iss_parameter_supported") is True
    return request.GET.get("iss", None if named else provider().issuer_in_tokens) != provider().issuer_in_tokens


class Refresh(SessionRefresh):
    """Check every 15 minutes, by a silent redirect to the provider, that the person is still signed in there.

    When the provider does not answer, pages still work, because asking and deciding must not wait for it. The session
    ends twelve hours after sign-in in any case. Requests for parts of pages (htmx) are not redirected.
    """

    get_settings = staticmethod(setting)
    exempt_urls = frozenset({"/oidc/start", "/oidc/callback", "/signout", "/healthz", "/readyz", "/metrics"})

    @override
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        due = request.session.get("oidc_id_token_expiration", 0) <= time.time()
        # The library imports what the session names, though Django knows nobody by it.
        ours = request.session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        if not due or not ours or not self.is_refreshable_url(request) or request.headers.get("HX-Request"):
            return None
        if not provider().answers():
            log.warning("session_not_refreshed", code="PROVIDER_DOWN")
            return None
        try:
            self.OIDC_OP_AUTHORIZATION_ENDPOINT = provider().endpoint("authorization_endpoint")
        except SignInRefused as error:
            log.warning("session_not_refreshed", code=error.code)
            return None
        response: HttpResponse | None = super().process_request(request)
        return response


def logout_url(request: HttpRequest) -> str:
    """The address for sign-out at the provider (RP-Initiated Logout 1.0); the portal's own when it does not answer."""
    home = f"{settings.ENV.public_url}{settings.LOGOUT_REDIRECT_URL}"
    try:
        endpoint = provider().endpoint("end_session_endpoint")
    except SignInRefused as error:
        log.warning("signed_out_here_only", code=error.code)
        return home
    query = {"client_id": settings.OIDC_RP_CLIENT_ID, "post_logout_redirect_uri": home}
    if hint := request.session.get("oidc_id_token"):
        query["id_token_hint"] = hint
    return f"{endpoint}?{urlencode(query)}"


def redirect_to_reason(code: str, detail: str = "", *, logged: bool = False) -> HttpResponse:
    """Redirect to the page that says why the sign-in failed and what to do."""
    if not logged:
        log.warning("sign_in_refused", code=code, detail=detail)
    return HttpResponseRedirect(f"{reverse('signin-failed')}?{urlencode({'code': code})}")
