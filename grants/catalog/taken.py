"""What of a listing the catalog takes: names and tags letter by letter, odd ones not at all.

Owners, rules and roles go by them, so two pools whose names look alike must never be one here.
"""

from __future__ import annotations

from typing import NamedTuple

from accounts import names
from grants.adapters.orchestrators.base import Found, Listing

NAME_MAX = 300
TAG_MAX = 200


class Taken(NamedTuple):
    """What is taken, and a sentence on what is not; "" when that is nothing."""

    found: tuple[Found, ...]
    left_out: str


def take(listing: Listing) -> Taken:
    """All whose names can be compared, without what is below another; of their tags those that can."""
    odd = {one.key: (names.shown(one.name), why) for one in listing.found if (why := names.odd(one.name, NAME_MAX))}
    kept = [one for one in listing.found if one.key not in odd and (one.parent_kind, one.parent_remote_id) not in odd]
    tags = [(names.shown(tag), why) for one in kept for tag in one.tags if (why := names.odd(tag, TAG_MAX))]
    return Taken(
        tuple(one._replace(tags=tuple(tag for tag in one.tags if not names.odd(tag, TAG_MAX))) for one in kept),
        names.said({"name": odd.values(), "tag": tags}),
    )
