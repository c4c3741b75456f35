"""`celery -A tests.chaos.worker`: the portal's own worker, that can be told to end or to stop at a step of reconcile.

STINT_CHAOS_DIR/orders/PERSON says at which, as "STEP SIGNAL": the first worker that comes to this step for that person
takes the order, says so in STINT_CHAOS_DIR/reached/STEP.PERSON with its pid, and sends itself the signal.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from portal import celery

app = celery.app  # which has set Django up

from grants.adapters.idp.keycloak import KeycloakAdapter  # noqa: E402
from grants.notifications import mail  # noqa: E402
from grants.provisioning import leases, steps  # noqa: E402
from grants.provisioning.leases import Lease  # noqa: E402
from grants.provisioning.plan import Step  # noqa: E402
from grants.sweeper import SweeperStep  # noqa: E402

FOLDER = Path(os.environ["STINT_CHAOS_DIR"])
VERBS = {Step.LOOK: "give", Step.GIVE: "give", Step.TAKE: "take"}


def at(step: str, people: Iterable[str]) -> None:
    for person in people:
        order = FOLDER / "orders" / person
        try:
            wanted, sig = order.read_text().rsplit(" ", 1)
            if wanted != step:
                continue
            order.unlink()
        except OSError:  # none, or another worker has taken it
            continue
        (FOLDER / "reached" / f"{step}.{person}").write_text(str(os.getpid()))
        os.kill(os.getpid(), getattr(signal, sig))
        time.sleep(0.2)  # the signal is the process's: this thread must not go on before it is delivered


def _those(held: Iterable[Lease], step: str) -> None:
    for lease in held:
        if lease.next in VERBS:
            at(f"{step} {VERBS[lease.next]}", [lease.external_id])


def _wrap(owner: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None) -> None:
    real = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args = tuple(
            list(arg) if not isinstance(arg, int | str | tuple) and hasattr(arg, "__next__") else arg for arg in args
        )
        if before:
            before(*args)
        done = real(*args, **kwargs)
        if after:
            after(done, *args)
        return done

    setattr(owner, name, wrapped)


_wrap(leases, "acquire", None, lambda done, *_: _those(done[1], "leased"))
_wrap(leases, "intend_to_give", lambda looked: _those([lease for lease, _ in looked], "looked"), None)
_wrap(steps, "begin", lambda _idp, lease: lease.next is not Step.LOOK and _those([lease], "intended"), None)
_wrap(KeycloakAdapter, "grant_role", None, lambda _done, _idp, person, *_: at("called give", [person]))
_wrap(KeycloakAdapter, "revoke_role", None, lambda _done, _idp, person, *_: at("called take", [person]))
_wrap(
    leases,
    "confirm",
    lambda done: _those([lease for lease, _ in done], "read"),
    lambda _count, done: _those([lease for lease, _ in done], "confirmed"),
)


if seconds := os.environ.get("STINT_CHAOS_MAIL_SECONDS"):
    _wrap(mail, "_send", lambda _message: time.sleep(float(seconds)), None)

if os.environ.get("STINT_CHAOS_HANG"):
    celery.LAST_SECONDS = 2
    _wrap(SweeperStep, "stop", lambda *_: time.sleep(600), None)
