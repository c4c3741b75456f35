"""Choose the resources of a listing that the catalog accepts: names and tags unchanged, unusable ones left out.

Owners, rules and roles are found by these names, so two pools whose names look alike must never become one here.
"""

from __future__ import annotations

from typing import NamedTuple

from accounts import names
from grants.adapters.orchestrators.base import Listing, RemoteResource

NAME_MAX = 300
TAG_MAX = 200


class Accepted(NamedTuple):
    """The accepted resources, and a sentence on what was left out; "" when nothing was."""

    resources: tuple[RemoteResource, ...]
    left_out: str


def accept(listing: Listing) -> Accepted:
    """Accept every resource whose name and whose parent's name are usable (names.odd), with its usable tags."""
    odd = {one.key: (names.shown(one.name), why) for one in listing.resources if (why := names.odd(one.name, NAME_MAX))}
    kept = [
        one for one in listing.resources if one.key not in odd and (one.parent_kind, one.parent_remote_id) not in odd
    ]
    tags = [(names.shown(tag), why) for one in kept for tag in one.tags if (why := names.odd(tag, TAG_MAX))]
    return Accepted(
        tuple(one._replace(tags=tuple(tag for tag in one.tags if not names.odd(tag, TAG_MAX))) for one in kept),
        names.said({"name": odd.values(), "tag": tags}),
    )
