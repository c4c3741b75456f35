"""What stops a start, in every process: a role that could change the record, settings that can't be meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import connect, url_of

ROOT = Path(__file__).resolve().parents[2]
MANAGE = ("manage.py",)
WORKER = ("-m", "celery", "-A", "portal.celery", "worker", "--pool", "threads", "--concurrency", "1")


def run(*command: str, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("commits")
@pytest.mark.parametrize(
    ("role", "right"),
    [("superuser", "is a superuser"), ("stint_owner", "owns the database")],
)
@pytest.mark.parametrize(
    "command",
    [(*MANAGE, "check"), (*MANAGE, "policy", "show"), (*MANAGE, "shell", "-c", "from accounts.models import IdP; IdP.objects.count()"),
     WORKER],
    ids=["check", "policy", "shell", "worker"],
)  # fmt: skip
def test_nothing_runs_as_who_could_change_the_record(command: tuple[str, ...], role: str, right: str) -> None:
    code, said = run(*command, STINT_DATABASE_URL=url_of(role))
    assert code not in (0, None)
    assert f"STINT_DATABASE_URL: its role {right}" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("commits")
def test_a_role_that_was_given_the_record_is_refused() -> None:
    with connect("superuser", autocommit=True) as superuser:
        superuser.execute("CREATE ROLE stint_test_writer LOGIN")
        try:
            superuser.execute("GRANT UPDATE (verb) ON grants_auditevent TO stint_test_writer")
            _, said = run(*MANAGE, "check", STINT_DATABASE_URL=url_of("stint_test_writer"))
            assert "STINT_DATABASE_URL: its role may change the record" in said
            superuser.execute("REVOKE ALL ON grants_auditevent FROM stint_test_writer")
            superuser.execute("GRANT stint_owner TO stint_test_writer WITH INHERIT FALSE")
            _, said = run(*MANAGE, "check", STINT_DATABASE_URL=url_of("stint_test_writer"))
            assert "STINT_DATABASE_URL: its role owns the database" in said, "it may become the owner"
        finally:
            superuser.execute("DROP OWNED BY stint_test_writer; DROP ROLE stint_test_writer")


@pytest.mark.usefixtures("commits")
def test_the_roles_that_are_meant_pass() -> None:
    code, said = run(*MANAGE, "check", STINT_DATABASE_URL=url_of("stint_app"))
    assert (code, "no issues" in said) == (0, True), said


def test_a_database_that_is_away_is_said_in_a_line() -> None:
    for command in (("check",), ("policy", "show")):
        code, said = run(*MANAGE, *command, STINT_DATABASE_URL="postgresql://stint_app@127.0.0.1:1/x")
        assert code == 1
        assert "The database does not answer, or not as it should" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("command", [(*MANAGE, "check"), WORKER, ("-c", "import portal.asgi")])
def test_bad_settings_end_every_process_by_their_names(command: tuple[str, ...]) -> None:
    code, said = run(*command, STINT_PUBLIC_URL="http://stint.example.org/x", STINT_OIDC_SCOPES="profile")
    assert code == 1
    assert "STINT_PUBLIC_URL: " in said
    assert "STINT_OIDC_SCOPES: " in said
    assert "Traceback" not in said


def test_what_is_hardly_meant_is_warned_of() -> None:
    code, said = run(
        *MANAGE, "check", STINT_PUBLIC_URL="https://stint.example.org", STINT_IDP_ADMIN_SECRET_REF="file:/nowhere/x",
        STINT_IDP_ADMIN_URL="http://sso.example.org",
    )  # fmt: skip
    assert code == 0
    for told in ("STINT_TRUSTED_PROXY is not set", "STINT_IDP_ADMIN_SECRET_REF: ", "STINT_IDP_ADMIN_URL: "):
        assert told in said
