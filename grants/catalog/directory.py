"""People and teams follow the provider's directory, so that an approver who never signed in is known.

It sits beside the catalog's sync because it is the same errand: read the outside, hand it in whole.
What becomes of the people is accounts' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.conf import settings

from accounts import directory
from accounts.idp import this_idp
from accounts.models import IdP as IdPRow
from grants import due
from grants.adapters.errors import AdapterError
from grants.adapters.idp.base import IdP
from grants.catalog import idps


class DirectoryOutcome(NamedTuple):
    """`done` is None when nothing was read: for want of a directory, or because of `why`."""

    idp: str
    done: directory.Outcome | None = None
    why: str = ""
    beside: bool = False  # another sync is at it
    refused: tuple[str, ...] = ()  # why roles that the policy maps can't be given

    @property
    def ok(self) -> bool:
        return not self.why and not self.refused and not (self.done and self.done.held)

    @property
    def sentence(self) -> str:
        """What happened, for a terminal or a log."""
        if self.why:
            return f"People of {self.idp}: failed. {self.why}"
        if self.beside:
            return f"People of {self.idp}: another sync is reading them at this moment."
        if self.done is None:
            return f"People of {self.idp}: only those who signed in; this provider has no directory."
        done = self.done
        counts = {"new": done.added, "changed": done.changed, "left": done.left}
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing new"
        held = f" {done.held} vanished at once and are held." if done.held else ""
        return " ".join(filter(None, [f"People of {self.idp}: {said}.{held}", *self.refused, done.left_out]))


def sync_directory(
    *, client: IdP | None = None, mapped: Sequence[str] = (), accept_vanished: bool = False
) -> DirectoryOutcome:
    """Read everybody from the provider of the settings and apply it; without a directory, do nothing.

    The roles that a policy maps are looked at, too: one that Stint will not give is said before somebody waits
    for it. `accept_vanished` lets those go that an earlier sync held. Failures of the provider are an outcome,
    kept on its row for the status page, not an exception. Of two at once one steps aside.
    """
    idp = this_idp()
    if client is None and not listed():
        return DirectoryOutcome(idp.slug)
    with due.alone(f"directory:{idp.slug}") as ours:
        if not ours:
            return DirectoryOutcome(idp.slug, beside=True)
        return _sync(idp, client, mapped, accept_vanished=accept_vanished)


def _sync(idp: IdPRow, client: IdP | None, mapped: Sequence[str], *, accept_vanished: bool) -> DirectoryOutcome:
    try:
        provider = client or idps.adapter()
        people = provider.people()
        refused = tuple(finding.what for finding in map(provider.inspect, mapped) if not finding.ok)
    except AdapterError as error:
        directory.failed(idp, error.reason)
        return DirectoryOutcome(idp.slug, why=error.reason)
    trouble = f"The policy maps what can't be given. {' '.join(refused)}" if refused else ""
    done = directory.apply(idp, people, accept_vanished=accept_vanished, trouble=trouble)
    return DirectoryOutcome(idp.slug, done, refused=refused)


def listed() -> bool:
    """Is there a directory to read, by the settings?"""
    env = settings.ENV
    return idps.CAPABILITIES[env.idp_kind].directory and bool(env.idp_admin_secret_ref)
