"""Sync people and teams from a provider's directory, so that an approver who never signed in is known.

This module reads the provider; accounts.directory compares the complete listing with the stored people and writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from accounts import directory
from accounts.idp import row_of
from grants import due
from grants.adapters.errors import AdapterError
from grants.adapters.idp.base import RoleProvider
from grants.adapters.idp.kinds import ProviderSettings
from grants.identity import providers


class DirectoryOutcome(NamedTuple):
    """What a sync did. `changes` is None when it read nothing: there is no directory, or `why` says what failed."""

    idp: str
    changes: directory.DirectoryChanges | None = None
    why: str = ""
    beside: bool = False  # another sync of this provider is running
    refused: tuple[str, ...] = ()  # why mapped roles of the policy cannot be given

    @property
    def ok(self) -> bool:
        return not self.why and not self.refused and not (self.changes and self.changes.held)

    @property
    def sentence(self) -> str:
        """The outcome in words, for a terminal or a log."""
        if self.why:
            return f"People of {self.idp}: failed. {self.why}"
        if self.beside:
            return f"People of {self.idp}: another sync is reading them at this moment."
        if self.changes is None:
            return f"People of {self.idp}: only those who signed in; this provider has no directory."
        changes = self.changes
        counts = {"new": changes.added, "changed": changes.changed, "left": changes.left}
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing new"
        held = f" {changes.held} vanished at once and are held." if changes.held else ""
        return " ".join(filter(None, [f"People of {self.idp}: {said}.{held}", *self.refused, changes.left_out]))


def sync_directory(
    chosen: ProviderSettings,
    *,
    client: RoleProvider | None = None,
    mapped: Sequence[str] = (),
    accept_vanished: bool = False,
) -> DirectoryOutcome:
    """Read all people of this provider and apply the listing; without a directory, do nothing.

    Also inspects the roles in `mapped`, so that a role which Stint will not give is reported before a grant needs it.
    `accept_vanished` switches off the people whom an earlier sync held. A failure of the provider is an outcome and is
    kept on its row for the status page; it is not raised. Of two syncs at once, the second returns without reading.
    """
    if client is None and not chosen.has_directory:
        return DirectoryOutcome(chosen.slug)
    with due.alone(sync_job(chosen.slug)) as ours:
        if not ours:
            return DirectoryOutcome(chosen.slug, beside=True)
        return _sync(chosen, client, mapped, accept_vanished=accept_vanished)


def _sync(
    chosen: ProviderSettings, client: RoleProvider | None, mapped: Sequence[str], *, accept_vanished: bool
) -> DirectoryOutcome:
    try:
        provider = client or providers.adapter(chosen)
        people = provider.people()
        refused = tuple(finding.what for finding in map(provider.inspect, mapped) if not finding.ok)
    except AdapterError as error:
        directory.record_failure(row_of(chosen), error.reason)
        return DirectoryOutcome(chosen.slug, why=error.reason)
    trouble = f"The policy maps what can't be given. {' '.join(refused)}" if refused else ""
    changes = directory.apply_listing(chosen, people, accept_vanished=accept_vanished, trouble=trouble)
    return DirectoryOutcome(chosen.slug, changes, refused=refused)


def sync_job(slug: str) -> str:
    """The name of the due row that syncs this provider's people."""
    return f"directory:{slug}"
