"""How long and how much, for everything that a stranger could draw out."""

from __future__ import annotations

from typing import NamedTuple

# Bytes of a body, by what a route takes. Each line of a table has one of these.
COMPUTED = 16 * 1024  # what the orchestrator works on for the caller: schemas, templates, times
SMALL = 64 * 1024  # one thing and its fields
LISTED = 256 * 1024  # what asks for a list, or names many things
DEFINED = 1024 * 1024  # definitions, states with their errors, parameters (of which Prefect takes 512 KiB)
LARGE = 4 * 1024 * 1024  # logs, which Prefect's clients send by 4 MB; artifacts, events, a hundred runs at once


class Limits(NamedTuple):
    """Seconds, but for the last three."""

    head: float = 10.0  # until the first request of a connection is whole
    idle: float = 75.0  # between two requests of one connection, the head of the second included
    body: float = 30.0  # for a body that is read whole; for each pause in one that is passed on
    write: float = 30.0  # for each piece of an answer, or frame of a socket, that a peer does not take
    connect: float = 2.0  # to the orchestrator
    answer: float = 30.0  # for each silence of the orchestrator
    after_end: float = 30.0  # that an answer under way may still take when the access ends
    closing: float = 2.0  # for a socket's goodbye
    moved: float = 60.0  # until it is seen that what a socket shows has moved out of its caller's sight
    connections: int = 10_000
    sockets: int = 2_000
    sockets_each: int = 500  # of one credential: a worker has three, and two for each run
