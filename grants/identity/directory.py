"""People and teams follow a provider's directory, so that an approver who never signed in is known.

It reads the outside and hands it in whole, as the catalog's sync does; accounts.directory writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from accounts import directory
from accounts.idp import row_of
from grants import due
from grants.adapters.errors import AdapterError
from grants.adapters.idp.base import IdP
from grants.adapters.idp.kinds import ProviderSettings
from grants.identity import providers


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
    chosen: ProviderSettings,
    *,
    client: IdP | None = None,
    mapped: Sequence[str] = (),
    accept_vanished: bool = False,
) -> DirectoryOutcome:
    """Read everybody from this provider and apply it; without a directory, do nothing.

    The roles that a policy maps are looked at, too: one that Stint will not give is said before somebody waits
    for it. `accept_vanished` lets those go that an earlier sync held. Failures of the provider are an outcome,
    kept on its row for the status page, not an exception. Of two at once one steps aside.
    """
    if client is None and not chosen.has_directory:
        return DirectoryOutcome(chosen.slug)
    with due.alone(sync_job(chosen.slug)) as ours:
        if not ours:
            return DirectoryOutcome(chosen.slug, beside=True)
        return _sync(chosen, client, mapped, accept_vanished=accept_vanished)


def _sync(
    chosen: ProviderSettings, client: IdP | None, mapped: Sequence[str], *, accept_vanished: bool
) -> DirectoryOutcome:
    try:
        provider = client or providers.adapter(chosen)
        people = provider.people()
        refused = tuple(finding.what for finding in map(provider.inspect, mapped) if not finding.ok)
    except AdapterError as error:
        directory.failed(row_of(chosen), error.reason)
        return DirectoryOutcome(chosen.slug, why=error.reason)
    trouble = f"The policy maps what can't be given. {' '.join(refused)}" if refused else ""
    done = directory.apply(chosen, people, accept_vanished=accept_vanished, trouble=trouble)
    return DirectoryOutcome(chosen.slug, done, refused=refused)


def sync_job(slug: str) -> str:
    """The name of the due row that syncs this provider's people."""
    return f"directory:{slug}"
