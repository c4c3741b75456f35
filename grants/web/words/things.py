"""How kinds of resources and levels read on a page."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    icon: str
    word: str
    words: str


KINDS = {
    "server": Kind("plug", "Server", "servers"),
    "pool": Kind("server", "Work pool", "work pools"),
    "deployment": Kind("package", "Deployment", "deployments"),
    "block": Kind("lock", "Block", "blocks"),
    "dag": Kind("workflow", "DAG", "DAGs"),
}

# What a level allows; a sentence for a kind overrides the general one.
LEVELS = {
    "view": "See runs, their states and logs.",
    "view pool": "See the pool, its queues, its runs and their logs.",
    "view block": "See that the block exists and its type, not its value.",
    "run": "Also start, cancel and retry runs, with the parameters the deployment accepts.",
    "run pool": "Also start, cancel and retry runs of every deployment on the pool.",
    "operate": "Also pause, change schedules and concurrency.",
    "operate pool": "Also pause the pool, change schedules, move and reorder queues.",
    "manage": "Also change the definition and job variables. This is running any code.",
    "manage pool": "Also edit the pool and its job variables. This is running any code on its machines.",
    "work": "Poll for runs and execute them. For machines only.",
    "secret": "Read the value of the block.",
    "admin": "Everything on this server but secrets and machine work.",
}
STRONG = frozenset({"manage", "admin", "secret"})  # drawn in orange


def level_means(level: str, kind: str) -> str:
    """Say in a sentence what `level` allows on a resource of `kind`."""
    return LEVELS.get(f"{level} {kind}") or LEVELS[level]


_DOES = {"work": "work on", "secret": "read the secret of", "admin": "administer"}


def does(level: str) -> str:
    """Say the level as a verb with the resource as its object: "work on"."""
    return _DOES.get(level, level)
