"""Decide what a binding needs next: the moves of docs/model.md as a pure function."""

from __future__ import annotations

from enum import Enum, auto


class Step(Enum):
    """What to do at the provider, after the phase that `INTENT` names for it is committed."""

    NOTHING = auto()
    LOOK = auto()  # is the role there before we give it?
    GIVE = auto()  # give it, read back
    CHECK = auto()  # it should be there: read, and give it again if it is not
    TAKE = auto()  # take it, read back
    RECHECK = auto()  # it was taken: has a slow worker given it since?
    SEE = auto()  # it was there before us and is wanted again: is it still there?
    KEEP = auto()  # nobody wants it, and it was there before us: only the phase moves


# The phase to commit before the call. CHECK, RECHECK and SEE change nothing that was intended before.
INTENT = {Step.GIVE: "adding", Step.TAKE: "removing", Step.KEEP: "kept"}


def step(phase: str, *, wanted: bool, found_before: bool | None, recheck: bool) -> Step:
    """Return the next step of a binding. `recheck`: it was taken, and the time for looking again has come."""
    match phase, wanted:
        case "absent", True:
            return Step.LOOK if found_before is None else Step.GIVE
        case "absent", False:
            return Step.RECHECK if recheck and found_before is False else Step.NOTHING
        case "adding", True:
            return Step.GIVE
        case "present", True:
            return Step.CHECK
        case "removing", True:
            return Step.GIVE
        case "kept", True:
            return Step.SEE
        case (("adding" | "present"), False):
            return Step.KEEP if found_before else Step.TAKE
        case "removing", False:
            return Step.TAKE
        case _:
            return Step.NOTHING
