"""The form of a credential: what is ours is read, what was typed wrong is not."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grants.tokens.mint import ALPHABET, PREFIXES, mint, read


@pytest.mark.parametrize("kind", PREFIXES)
def test_what_is_minted_is_read(kind: str) -> None:
    made = mint(kind)
    assert made.token.startswith(f"{PREFIXES[kind]}_{made.key_id}_")
    assert read(made.token) == read(made.token, kind) == made.digest == hashlib.sha256(made.token.encode()).digest()
    assert {read(made.token, other) for other in PREFIXES if other != kind} == {None}


def test_each_is_another() -> None:
    made = [mint("token") for _ in range(200)]
    assert len({one.key_id for one in made}) == len({one.token for one in made}) == 200


def test_nothing_shows_the_token_by_accident() -> None:
    made = mint("token")
    assert made.token not in f"{made!r} {made} {[made]}"


# Written down, so that a change of the format is seen: tokens in use and scanners' patterns depend on it.
TOKEN = "stint_0000000000000000_" + "0" * 43 + "0C1zW9"


def test_the_format_stays() -> None:
    assert read(TOKEN) == hashlib.sha256(TOKEN.encode()).digest()


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(ALPHABET + "_-. "))
def test_a_slip_is_noticed(place: int, sign: str) -> None:
    """CRC32 finds every single wrong sign."""
    typed = TOKEN[:place] + sign + TOKEN[place + 1 :]
    assert (read(typed) is None) == (typed != TOKEN)


@pytest.mark.parametrize(
    "text",
    ["", "stint_", TOKEN[:-1], TOKEN + "0", f" {TOKEN}", f"{TOKEN}\n", TOKEN.upper(), TOKEN.replace("stint_", "stintx_"),
     TOKEN.replace("_", "-"), f"Bearer {TOKEN}", TOKEN[:-1] + "\u0669", "x" * 1_000_000],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_what_is_none_of_ours(text: str) -> None:
    assert read(text) is None
