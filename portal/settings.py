"""Django's settings, made from portal/env.py. Nothing is read from the environment here."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.utils.csp import CSP

from grants.adapters import trust
from portal import __version__, log
from portal.env import read_env
from portal.env_values import database_with

ENV = read_env()
trust.also(ENV.ca_file)
VERSION = __version__
BASE = Path(__file__).resolve().parent.parent

SECRET_KEY = ENV.secret_key.get_secret_value()
DEBUG = False
ALLOWED_HOSTS = [ENV.host]
ROOT_URLCONF = "portal.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "django_linear_migrations",
    "mozilla_django_oidc",
    "accounts",
    "grants",
    "portal",
]

MIDDLEWARE = [
    "portal.request_id.RequestId",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.health.DatabaseDown",
    "grants.web.middleware.NoStore",
    "accounts.request_cache.RequestCache",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "grants.web.middleware.SignedInBodies",  # before the middleware that reads the body for its CSRF token
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.sso.Refresh",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "grants.web.middleware.TimeZone",
    "grants.web.limits.Limits",  # the last: its page needs the others, and a forged request must not count for anybody
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "grants.web.context.shell",
            ],
            "loaders": [
                ("django.template.loaders.cached.Loader", ["django.template.loaders.filesystem.Loader"]),
            ],
            "builtins": ["grants.web.templatetags.stint"],
        },
    }
]


# A page never takes longer. A migration may take any time, but it gives up waiting for a lock: all later queries would
# wait behind it.
_APP_LIMITS = "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
_OWNER_LIMITS = "-c statement_timeout=0 -c lock_timeout=5s -c idle_in_transaction_session_timeout=0"


def _database(url: str, limits: str) -> dict[str, Any]:
    parts = urlsplit(database_with(url, ENV.ca_file))
    query = {name: unquote(value) for name, value in (pair.split("=", 1) for pair in parts.query.split("&") if pair)}
    return {
        "ENGINE": "portal.postgres",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(query.pop("port", "") or parts.port or ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 2,
            "tcp_user_timeout": 5000,
            "options": limits,
            **query,
        },
    }


DATABASES = {"default": _database(ENV.database_url, _APP_LIMITS)}
if ENV.database_owner_url:  # `manage.py migrate` uses it
    DATABASES["owner"] = _database(ENV.database_owner_url, _OWNER_LIMITS)

# Sign-in
AUTH_USER_MODEL = "accounts.Subject"
AUTHENTICATION_BACKENDS = ["accounts.sso.Backend"]  # stands in each session: by another name all of them end
LOGIN_URL = "/signin"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/signin"
OIDC_RP_CLIENT_ID = ENV.oidc_client_id
OIDC_RP_CLIENT_SECRET = ENV.oidc_client_secret.get_secret_value()
OIDC_RP_SCOPES = ENV.oidc_scopes
OIDC_RP_SIGN_ALGO = "RS256"  # accounts.jose decides which are allowed; this only keeps the library from HMAC
OIDC_USE_PKCE = True
OIDC_OP_LOGOUT_URL_METHOD = "accounts.sso.logout_url"
OIDC_REDIRECT_ALLOWED_HOSTS: list[str] = []
OIDC_REDIRECT_REQUIRE_HTTPS = ENV.https

# Cookies ignore ports, so their names contain the port: two portals on one host do not sign each other out.
_COOKIE = "__Host-stint" if ENV.https else "stint"
_COOKIE += f"-{ENV.port}" if ENV.port else ""
SESSION_ENGINE = "accounts.session_store"
SESSION_COOKIE_NAME = f"{_COOKIE}-session"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SESSION_COOKIE_SECURE = ENV.https
SESSION_COOKIE_SAMESITE = "Lax"  # the provider's redirect back has to carry the cookie
CSRF_COOKIE_NAME = f"{_COOKIE}-csrf"
CSRF_COOKIE_SECURE = ENV.https
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "grants.web.errors.csrf_failure"

# Closed by default
SECURE_SSL_REDIRECT = ENV.https
SECURE_HSTS_SECONDS = int(timedelta(days=730).total_seconds()) if ENV.https and ENV.hsts != "off" else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = ENV.hsts in ("subdomains", "preload")
SECURE_HSTS_PRELOAD = ENV.hsts == "preload"
# The operator decides on HSTS for hosts below this one and for the browsers' lists, which take years to leave.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.trusted_proxy else None
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF, f"{urlsplit(ENV.oidc_issuer).scheme}://{urlsplit(ENV.oidc_issuer).netloc}"],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}

# Time, language
USE_TZ = True
TIME_ZONE = ENV.time_zone
USE_I18N = False
LANGUAGE_CODE = "en"

STATIC_URL = "/static/"
STATIC_ROOT = ENV.static_root
STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}

DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024  # portal.front refuses larger bodies
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# Mail
DEFAULT_FROM_EMAIL = ENV.mail_from


def _mailer() -> dict[str, Any]:
    if ENV.mail_dir:
        return {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": ENV.mail_dir},
        }
    if not ENV.smtp_url:
        return {"BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(ENV.smtp_url)
    tls = parts.scheme == "smtps"
    options = {
        "host": parts.hostname or "",
        "port": parts.port or (465 if tls else 587),
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "use_ssl": tls,
        "use_tls": not tls,
        "timeout": 10,
    }
    return {"BACKEND": "grants.notifications.smtp.EmailBackend", "OPTIONS": options}


MAILERS = {"default": _mailer()}

LOGGING_CONFIG = None
log.configure(level=ENV.log_level, style=ENV.log_format)
