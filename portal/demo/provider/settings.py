"""Settings of the demo's OIDC provider: a Django project of its own, on SQLite in the demo's folder."""

from __future__ import annotations

import os
from pathlib import Path

from django.utils.csp import CSP

FOLDER = Path(os.environ["STINT_DEMO_DIR"])
PORT = os.environ["STINT_DEMO_OIDC_PORT"]
PORTAL = os.environ["STINT_DEMO_PORTAL_URL"]
ADMIN_SECRET = os.environ["STINT_DEMO_DIRECTORY_SECRET"]
CLIENT_SECRET = os.environ["STINT_DEMO_CLIENT_SECRET"]
ISSUER = f"http://127.0.0.1:{PORT}/o"

SECRET_KEY = os.environ["STINT_DEMO_PROVIDER_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "portal.demo.provider.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "oauth2_provider",
    "portal.demo.provider",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "provider.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 5},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "provider.Person"
AUTHENTICATION_BACKENDS = ["portal.demo.provider.views.PersonBackend"]
LOGIN_URL = "/signin"
USE_TZ = True
SESSION_COOKIE_NAME = f"demo-provider-{PORT}-session"
CSRF_COOKIE_NAME = f"demo-provider-{PORT}-csrf"
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "style-src": [CSP.SELF],
    "form-action": [CSP.SELF, PORTAL],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
OAUTH2_PROVIDER = {
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": ISSUER,
    "OIDC_RSA_PRIVATE_KEY": (FOLDER / "provider.pem").read_text(encoding="utf-8"),
    "OAUTH2_VALIDATOR_CLASS": "portal.demo.provider.views.Validator",
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code"],
    "SCOPES": {
        "openid": "Who you are",
        "profile": "Your name",
        "email": "Your e-mail",
        "groups": "Your groups",
    },
    "PKCE_REQUIRED": True,
    "ACCESS_TOKEN_EXPIRE_SECONDS": 300,
    "ID_TOKEN_EXPIRE_SECONDS": 300,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 3600,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
    "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["http"],  # the portal is on loopback
    "ALLOWED_SCHEMES": ["http"],
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
}
