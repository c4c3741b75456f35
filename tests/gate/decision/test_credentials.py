"""One credential, of one kind, good for one orchestrator; a browser's only from our own pages."""

from __future__ import annotations

from base64 import b64encode

import pytest

from grants.gate.decision.credentials import COOKIE, authenticate, known_by
from grants.gate.decision.types import ByCredential, Code, Principal, Refusal
from grants.tokens.mint import mint
from tests.gate.worlds import HOUR, NOW, OTHER, UPSTREAM, Held, snapshot, token

TOKEN, SESSION = token(), token("gate_session", id=8)
OURS = ("Origin", "https://prefect.example.org")


def who(
    *headers: tuple[str, str], method: str = "GET", held: tuple[Held, ...] = (TOKEN, SESSION), **more: object
) -> Principal | Refusal:
    known = snapshot(credentials=[one.credential for one in held], subjects=[1])
    options: dict[str, object] = {"upstream": UPSTREAM, "now": NOW, "scheme": "https", **more}
    return authenticate(
        known,
        options["upstream"],
        headers,
        options["now"],
        method=method,
        scheme=options["scheme"],
    )


def basic(user: str, text: str) -> str:
    return "Basic " + b64encode(f"{user}:{text}".encode()).decode()


def cookie(text: str) -> tuple[str, str]:
    return ("Cookie", f"theme=dark; {COOKIE}={text}; prefect-ui-version=v2")


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {TOKEN.token}"),
        ("authorization", f"bearer  {TOKEN.token}"),
        ("Authorization", basic("ada", TOKEN.token)),
        ("Authorization", basic("", TOKEN.token)),
        ("X-API-Key", TOKEN.token),
        ("x-api-key", f" {TOKEN.token} "),
    ],
)
def test_a_service_token_in_any_of_three_places(header: tuple[str, str]) -> None:
    assert who(header) == Principal(1, ByCredential(7), frozenset({1}), NOW + HOUR, browser=False)
    assert who(header, method="POST") == who(header)  # a program needs no Origin
    assert who(header, ("Cookie", "of=another site"), method="WS") == who(header)


def test_a_browsers_session() -> None:
    assert who(cookie(SESSION.token)) == Principal(1, ByCredential(8), None, NOW + HOUR, browser=True)


ALMOST = TOKEN.token[:-1] + ("y" if TOKEN.token.endswith("x") else "x")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ((), 401, Code.CREDENTIAL),
        ((("Cookie", "a=b"),), 401, Code.CREDENTIAL),
        ((("Cookie", f"{COOKIE}x={SESSION.token}"),), 401, Code.CREDENTIAL),
        ((("Authorization", ""),), 401, Code.UNKNOWN),
        ((("Authorization", "Bearer"),), 401, Code.UNKNOWN),
        ((("Authorization", f"Bearer {ALMOST}"),), 401, Code.UNKNOWN),
        ((("Authorization", f"Bearer {TOKEN.token},{TOKEN.token}"),), 401, Code.UNKNOWN),
        ((("Authorization", f"Token {TOKEN.token}"),), 401, Code.UNKNOWN),
        ((("Authorization", TOKEN.token),), 401, Code.UNKNOWN),
        ((("Authorization", "Basic !!!"),), 401, Code.UNKNOWN),
        ((("Authorization", "Basic " + b64encode(TOKEN.token.encode()).decode()),), 401, Code.UNKNOWN),
        ((("Authorization", "Basic " + b64encode(b"\xff:x").decode()),), 401, Code.UNKNOWN),
        ((("Authorization", basic(TOKEN.token, "")),), 401, Code.UNKNOWN),
        ((("Authorization", f"Bearer {SESSION.token}"),), 401, Code.UNKNOWN),  # a session is no token
        ((cookie(TOKEN.token),), 401, Code.UNKNOWN),  # and the other way round
        ((cookie(f'"{SESSION.token}"'),), 401, Code.UNKNOWN),
        ((("X-API-Key", ""),), 401, Code.UNKNOWN),
        ((("Authorization", f"Bearer {mint('token').token}"),), 401, Code.UNKNOWN),
        # One wrong, one right: never the right one.
        ((("Authorization", "Bearer wrong"), cookie(SESSION.token)), 400, Code.HEADERS),
        ((("Authorization", "Nonsense"), cookie(SESSION.token)), 401, Code.UNKNOWN),
        ((("Authorization", f"Bearer {TOKEN.token}"), cookie(SESSION.token)), 400, Code.HEADERS),
        ((("Authorization", f"Bearer {TOKEN.token}"), ("X-API-Key", TOKEN.token)), 400, Code.HEADERS),
        ((("X-API-Key", "wrong"), cookie(SESSION.token)), 400, Code.HEADERS),
        # Twice.
        ((("Authorization", f"Bearer {TOKEN.token}"), ("AUTHORIZATION", f"Bearer {TOKEN.token}")), 400, Code.HEADERS),
        ((("X-API-Key", TOKEN.token), ("x-api-key", TOKEN.token)), 400, Code.HEADERS),
        ((cookie(SESSION.token), ("Cookie", "a=b")), 400, Code.HEADERS),
        ((("Cookie", f"{COOKIE}=x; {COOKIE}={SESSION.token}"),), 400, Code.HEADERS),
        ((cookie(SESSION.token), OURS, OURS), 400, Code.HEADERS),
    ],
)
def test_anything_else_is_nobody(headers: tuple[tuple[str, str], ...], status: int, code: Code) -> None:
    refusal = who(*headers)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (status, code)
    assert TOKEN.token not in refusal.why


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"revoked": True}, Code.REVOKED),
        ({"expires_at": NOW}, Code.EXPIRED),
        ({"subject": 2}, Code.INACTIVE),
        ({"connection": "other"}, Code.UNKNOWN),
        ({"digest": b"x" * 32}, Code.UNKNOWN),
    ],
)
@pytest.mark.parametrize("kind", ["token", "gate_session"])
def test_a_credential_that_is_no_good_any_more(changes: dict[str, object], code: Code, kind: str) -> None:
    held = token(kind, **changes)
    header = cookie(held.token) if kind == "gate_session" else ("Authorization", f"Bearer {held.token}")
    assert who(header, held=(held,)) == Refusal(401, code)


def test_one_of_a_shape_that_is_never_issued() -> None:
    for held in (token(grant=None), token("gate_session", grant=1)):
        header = (
            cookie(held.token) if held.credential.kind == "gate_session" else ("Authorization", f"Bearer {held.token}")
        )
        assert who(header, held=(held,)) == Refusal(401, Code.UNKNOWN)


def test_a_digest_that_does_not_match_its_place_is_not_believed() -> None:
    known = snapshot(subjects=[1])._replace(
        credentials={TOKEN.credential.digest: SESSION.credential._replace(kind="token", grant=1)}
    )
    assert known_by(known, UPSTREAM, TOKEN.token, NOW) == Refusal(401, Code.UNKNOWN)


def test_the_same_token_at_another_orchestrator() -> None:
    assert who(("Authorization", f"Bearer {TOKEN.token}"), upstream=OTHER) == Refusal(401, Code.UNKNOWN)


# A browser's call from elsewhere.

SAME, CROSS, NONE = (("Sec-Fetch-Site", value) for value in ("same-origin", "cross-site", "none"))


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE", "WS"])
@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ((OURS,), True),
        ((SAME,), True),
        ((OURS, SAME), True),
        ((), False),
        ((NONE,), False),
        ((CROSS,), False),
        ((("Sec-Fetch-Site", "same-site"),), False),
        ((("Origin", "null"),), False),
        ((("Origin", "https://evil.example"),), False),
        ((("Origin", "https://evil.example"), SAME), False),
        ((("Origin", "http://prefect.example.org"),), False),
        ((("Origin", "https://prefect.example.org:444"),), False),
        ((("Origin", "https://prefect.example.org.evil.example"),), False),
        ((("Origin", ""), SAME), False),
        ((OURS, CROSS), False),
    ],
)
def test_what_changes_something_must_come_from_our_own_pages(
    method: str, headers: tuple[tuple[str, str], ...], passes: bool
) -> None:
    result = who(cookie(SESSION.token), *headers, method=method)
    assert isinstance(result, Principal) is passes
    if not passes:
        assert result == Refusal(403, Code.ORIGIN)


def test_a_page_may_be_opened_from_anywhere() -> None:
    assert isinstance(who(cookie(SESSION.token), CROSS, method="GET"), Principal)


def test_the_scheme_is_part_of_the_origin() -> None:
    plain = ("Origin", "http://prefect.example.org")
    assert isinstance(who(cookie(SESSION.token), plain, method="POST", scheme="http"), Principal)
    assert isinstance(who(cookie(SESSION.token), OURS, method="POST", scheme="http"), Refusal)
