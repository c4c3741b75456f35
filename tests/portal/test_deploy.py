"""Secure by default: Django's own deployment checks, and what an https portal answers with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {
        "STINT_PUBLIC_URL": "https://stint.example.org",
        "STINT_SECRET_KEY": "aB3$" + os.urandom(40).hex(),
        "STINT_OIDC_ISSUER": "https://sso.example.org",
        "STINT_TRUSTED_PROXY": "true",
        "STINT_SMTP_URL": "smtp://mail.example.org",
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_the_deployment_checks_are_clean() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_what_an_https_portal_answers_with() -> None:
    script = """
from django.test import Client
answer = Client(headers={"host": "stint.example.org", "x-forwarded-proto": "https"}).get("/signin/failed")
for name in ("Strict-Transport-Security", "Content-Security-Policy", "Cross-Origin-Opener-Policy", "X-Frame-Options",
             "X-Content-Type-Options", "Referrer-Policy"):
    print(name, answer.headers[name])
from django.conf import settings
print(settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.SESSION_COOKIE_SECURE)
print(Client(headers={"host": "stint.example.org"}).get("/signin").headers["Location"])
print(Client(headers={"host": "evil.example"}).get("/signin").status_code)
"""
    run = "from django.conf import settings; settings.STORAGES={'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.StaticFilesStorage'}};"
    done = manage("shell", "--no-imports", "-c", run + script)
    told = done.stdout
    assert "Strict-Transport-Security max-age=63072000\n" in told, done.stderr
    assert "default-src 'none'" in told
    assert "frame-ancestors 'none'" in told
    assert "unsafe" not in told
    assert "Cross-Origin-Opener-Policy same-origin" in told
    assert "__Host-stint-session __Host-stint-csrf True" in told
    assert "https://stint.example.org/signin" in told
    assert told.strip().endswith("400")
