"""The portal as a real process: who sends slowly stops nobody, and a database that is away is told within seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.portal.web import Web

FORM = "Content-Type: application/x-www-form-urlencoded"
MANY = 32  # four times the threads


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    try:
        yield web.start()
    finally:
        web.end()


def post(web: Web, path: str, *headers: str, cookie: str = "") -> str:
    return "\n".join([f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{web.port}", f"Cookie: {cookie}", *headers])


@pytest.mark.parametrize("path", ["/recover", "/signin", "/oidc/callback", "/nothing"])
def test_who_is_not_signed_in_holds_no_thread_by_sending_slowly(web: Web, path: str) -> None:
    made_up = f"stint-{web.port}-csrf={'x' * 32}; stint-{web.port}-session={'y' * 32}"
    head = post(web, path, FORM, "Content-Length: 60000", cookie=made_up)
    lines = [web.send(head, b"a") for _ in range(MANY)]
    try:
        assert web.status("/healthz") == 200
        assert web.status("/", signed_in=True) == 200
        for line in lines:
            assert line.recv(12)[9:] == b"408"
    finally:
        for line in lines:
            line.close()


def test_who_is_signed_in_and_sends_slowly_delays_nobody(web: Web) -> None:
    head = post(web, "/recover", FORM, "Content-Length: 60000", cookie=web.cookie)
    lines = [web.send(head, b"a") for _ in range(MANY)]
    try:
        assert web.status("/", signed_in=True) == 200
        with web.send(post(web, "/recover", FORM, "Content-Length: 6", cookie=web.cookie), b"code=A") as other:
            assert other.recv(12)[9:] == b"403"  # its page; it has no token of a form
        for line in lines:
            assert line.recv(12)[9:] == b"408"
    finally:
        for line in lines:
            line.close()


def test_half_a_form_is_none(web: Web) -> None:
    """What has arrived when somebody hangs up is not acted on."""
    line = web.send(post(web, "/recover", FORM, "Content-Length: 100", cookie=web.cookie), b"code=HALF")
    line.close()
    web.until(lambda: '"path": "/recover", "status": 408' in web.log.read_text())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Content-Type: multipart/form-data; boundary=x", "Content-Length: 200"], b"415"),
        (["Content-Type: application/json", "Content-Length: 2"], b"415"),
        ([FORM, "Content-Length: 65537"], b"413"),
        ([FORM, "Content-Length: 99999999999999999999"], b"400"),
        ([FORM, "Transfer-Encoding: chunked"], b"411"),
    ],
)
def test_a_body_that_no_page_takes_is_refused_unread(web: Web, headers: list[str], status: bytes) -> None:
    with web.send(post(web, "/recover", *headers, cookie=web.cookie)) as line:
        assert line.recv(12)[9:] in (status, b"413" if status == b"400" else status)


def test_probes_come_by_any_name(web: Web) -> None:
    assert [web.status(path, host="10.1.2.3") for path in ("/healthz", "/readyz")] == [200, 200]


def test_what_is_refused_is_one_line(web: Web) -> None:
    seen = web.log.stat().st_size
    assert web.status("/" + "x" * 5000, host="evil.example") == 400
    assert web.status("/?q=\N{SNOWMAN}".replace("\N{SNOWMAN}", "%ff"), host="evil.example") == 400
    lines = web.log.read_text()[seen:].splitlines()
    assert len(lines) == 2
    assert all("DisallowedHost" in line and len(line) < 600 for line in lines)


def test_a_lock_that_others_hold_is_not_a_database_that_is_away(web: Web) -> None:
    with web.as_superuser() as superuser, superuser.transaction():
        superuser.execute("LOCK TABLE django_session")
        answer = web.get("/", signed_in=True)
        assert (answer.status_code, "busy" in answer.text) == (503, True)
        assert answer.headers["Retry-After"] == "5"
        assert web.status("/readyz") == 200


def test_no_free_connection_is_503(web: Web) -> None:
    with web.as_superuser() as superuser:
        superuser.execute("ALTER ROLE stint_app CONNECTION LIMIT 0")
        try:
            superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stint_app'")
            answer = web.get("/", signed_in=True)
            assert (answer.status_code, "cannot reach its database" in answer.text) == (503, True)
        finally:
            superuser.execute("ALTER ROLE stint_app CONNECTION LIMIT -1")
    web.until(lambda: web.status("/", signed_in=True) == 200)


def test_a_frozen_database_is_503_on_every_path(web: Web) -> None:
    web.get("/", signed_in=True)
    web.freeze()
    try:
        started = time.monotonic()
        answer = web.get("/", signed_in=True)  # its connection is open, and would wait for ever
        print(f"\n  frozen: {answer.status_code} after {time.monotonic() - started:.2f} s")
        assert (answer.status_code, "cannot reach its database" in answer.text) == (503, True)
        for path in ("/", "/catalog", "/signin", "/oidc/start", "/nothing"):
            assert web.status(path, signed_in=True) == 503, path
            assert web.status(path) == 503, path
        assert (web.status("/healthz"), web.status("/readyz")) == (200, 503)
    finally:
        web.thaw()
    web.until(lambda: web.status("/", signed_in=True) == 200)
    assert web.status("/readyz") == 200


def test_a_database_that_stops_is_503_and_comes_back(web: Web) -> None:
    web.postgres.stop()
    try:
        assert web.status("/", signed_in=True) == 503
        web.until(lambda: web.status("/signin") == 503)
        assert (web.status("/healthz"), web.status("/readyz")) == (200, 503)
    finally:
        web.postgres.start()
    web.until(lambda: web.status("/", signed_in=True) == 200)


def test_a_killed_process_of_granian_comes_back(web: Web) -> None:
    assert web.process
    main = web.process.pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    web.until(lambda: web.status("/healthz") == 0)
    web.until(lambda: web.status("/", signed_in=True) == 200)


def test_none_of_that_left_a_traceback(web: Web) -> None:
    assert "Traceback" not in web.log.read_text()
