"""How long and how much, for everything that a stranger could draw out."""

from __future__ import annotations

from typing import NamedTuple

RESERVE = 96  # open files that are no caller's: the admin port, the database, lookups, what the process itself has

# Bytes of a body, by what a route takes. Each line of a table has one of these.
COMPUTED = 16 * 1024  # what the orchestrator works on for the caller: schemas, templates, times
SMALL = 64 * 1024  # one thing and its fields
LISTED = 256 * 1024  # what asks for a list, or names many things
DEFINED = 1024 * 1024  # definitions, states with their errors, parameters (up to 512 KiB)
LARGE = 4 * 1024 * 1024  # logs, which clients send by 4 MB; artifacts, events, a hundred runs at once


class Limits(NamedTuple):
    """Seconds first, then how many and how much."""

    head: float = 10.0  # until the first request of a connection is whole, or the next of somebody who is not known
    idle: float = 75.0  # between two requests of one connection, the head of the second included
    body: float = 30.0  # for a body that is read whole; for each pause in one that is passed on
    write: float = 30.0  # for each piece of an answer, or frame of a socket, that a peer does not take
    connect: float = 2.0  # to the orchestrator
    answer: float = 30.0  # for each silence of the orchestrator
    turn: float = 10.0  # for a call's turn: behind others of the same caller, or that change the same
    after_end: float = 30.0  # that an answer under way may still take when the access ends
    try_again: float = 3.0  # until an address has another try to enter
    closing: float = 2.0  # for a socket's goodbye
    moved: float = 60.0  # until it is seen that what a socket shows has moved out of its caller's sight
    connections: int = 10_000
    connections_each: int = 2_500  # of one address that is no proxy of ours
    sockets: int = 2_000
    sockets_each: int = 500  # of one subject that works: a worker has three, and two for each run
    sockets_other: int = 100  # of one subject that does not; all of them together may have half
    calls_each: int = 128  # of one subject, under way at once
    turns_each: int = 16  # of them, at one orchestrator
    bodies_each: int = 8 * 1024 * 1024  # bytes of one subject that are looked into at once
    bodies: int = 64 * 1024 * 1024  # of all
    tries: int = 20  # to enter, of one address, that failed
    entering: int = 32  # who wait for the database at once


def limits_for(files: int, sockets: int) -> Limits:
    """What fits into so many open files: each connection may need another one to the orchestrator."""
    connections = max(16, min(10_000, (files - RESERVE) // 2))
    most = max(1, min(sockets, connections * 3 // 4))
    return Limits(
        connections=connections,
        connections_each=max(8, connections // 4),
        sockets=most,
        sockets_each=max(1, most // 4),
        sockets_other=max(1, most // 20),
    )
