"""Limits on the time and size of what clients, unauthenticated ones included, can make the gate do."""

from __future__ import annotations

from typing import NamedTuple

RESERVE = 96  # open files that are not callers': the admin port, the database, lookups, the process's own

# Bytes of a body, by what a route takes. Each line of a table has one of these.
COMPUTED = 16 * 1024  # what the orchestrator computes with: schemas, templates, times
SMALL = 64 * 1024  # one thing and its fields
LISTED = 256 * 1024  # a filter of a list, or the names of many things
DEFINED = 1024 * 1024  # definitions, states with their errors, parameters (up to 512 KiB)
LARGE = 4 * 1024 * 1024  # logs, which clients send by 4 MB; artifacts, events, a hundred runs at once


class Limits(NamedTuple):
    """Seconds first, then numbers and bytes."""

    head: float = 10.0  # until a connection's first request is whole, and each one of an unauthenticated caller
    idle: float = 75.0  # between two requests of one connection, the head of the second included
    body: float = 30.0  # for a body that is read whole; for each pause of a body that is passed on
    write: float = 30.0  # that a peer may take to read a piece of an answer, or a frame of a socket
    connect: float = 2.0  # to the orchestrator
    answer: float = 30.0  # that the orchestrator may be silent
    turn: float = 10.0  # for a call's turn, behind others of its caller or others that change the same thing
    after_end: float = 30.0  # that an answer under way may still take after the access ended
    try_again: float = 3.0  # until an address gets one more try to enter
    closing: float = 2.0  # that a socket's closing handshake may take
    moved: float = 60.0  # between two looks whether what a socket shows has moved out of what its caller may see
    connections: int = 10_000
    connections_each: int = 2_500  # of one address, unless it is one of our proxies
    sockets: int = 2_000
    sockets_each: int = 500  # of one subject with `work`: a worker has three, and two for each run
    sockets_other: int = 100  # of one subject without `work`; together these may have half of all
    calls_each: int = 128  # of one subject that are under way at once
    turns_each: int = 16  # of these that one orchestrator works on at once
    bodies_each: int = 8 * 1024 * 1024  # bytes of one subject that are in memory at once
    bodies: int = 64 * 1024 * 1024  # bytes of all subjects
    tries: int = 20  # failed tries to enter, of one address
    entering: int = 32  # browsers that wait for the database at once


def limits_for(files: int, sockets: int) -> Limits:
    """Make the limits that fit into so many open files: each connection may need one more to the orchestrator."""
    connections = max(16, min(10_000, (files - RESERVE) // 2))
    most = max(1, min(sockets, connections * 3 // 4))
    return Limits(
        connections=connections,
        connections_each=max(8, connections // 4),
        sockets=most,
        sockets_each=max(1, most // 4),
        sockets_other=max(1, most // 20),
    )
