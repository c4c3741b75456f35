"""Decide which roles are read back together: one list of who holds a role instead of a read for each person.

A single read-back never waits. While many calls for a role are under way, or more is due than is in hand, finished
calls wait until they are enough for a list of that length, or for PATIENCE seconds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

type Role = tuple[int, str]  # at which provider

LIST_FROM = 8  # read-backs of one role; fewer are read one by one
ROWS = 20  # this many rows of a list cost about as much as reading one person alone
PATIENCE = 3.0  # seconds that a read-back waits for others: of 10,000 who have the role, 500 are enough for a list
NO_LIST = 10.0  # seconds without another request for a list where there was none


class Gather[Task]:
    """The read-backs of one turn, by their role. Each method returns those that are to be read now."""

    def __init__(self) -> None:
        self.waiting = 0
        self.more = False  # may be due than has been taken up
        self._under_way: Counter[Role] = Counter()
        self._tasks: dict[Role, list[Task]] = {}
        self._since: dict[Role, float] = {}
        self._reading: set[Role] = set()
        self._size: dict[Role, int] = {}
        self._no_list: dict[Role, float] = {}
        self._lock = threading.Lock()

    def expect(self, role: Role) -> None:
        """Count a call that is about to be made and then read back."""
        with self._lock:
            self._under_way[role] += 1

    def add(self, role: Role, task: Task | None = None) -> list[Task]:
        """Add an expected call that is done; without `task`, it failed and is not read back."""
        with self._lock:
            self._under_way[role] -= 1
            if task is not None:
                self.waiting += 1
                self._tasks.setdefault(role, []).append(task)
                self._since.setdefault(role, time.monotonic())
            return self._ripe(role)

    def was_read(self, role: Role, *, size: int | None = None, in_vain: bool = False) -> list[Task]:
        """Say that these were read: from a list of this `size`, or one by one; `in_vain`: because there was no list."""
        with self._lock:
            self._reading.discard(role)
            if size is not None:
                self._size[role] = size
            if in_vain:
                self._no_list[role] = time.monotonic() + NO_LIST
            return self._ripe(role)

    def late(self) -> Iterator[tuple[Role, list[Task]]]:
        """Return what has waited for long enough."""
        with self._lock:
            ripe = [(role, self._ripe(role)) for role in list(self._tasks)]
        return ((role, tasks) for role, tasks in ripe if tasks)

    def enough(self, role: Role, count: int) -> bool:
        """Are this many enough for a list?"""
        may = time.monotonic() >= self._no_list.get(role, 0.0)
        return may and count >= max(LIST_FROM, self._size.get(role, 0) // ROWS)

    def _ripe(self, role: Role) -> list[Task]:
        tasks = self._tasks.get(role)
        if not tasks or role in self._reading:
            return []
        last = not self._under_way[role] and not (self.more and len(tasks) >= LIST_FROM)
        if not (last or self.enough(role, len(tasks)) or time.monotonic() > self._since[role] + PATIENCE):
            return []
        del self._tasks[role], self._since[role]
        self._reading.add(role)
        self.waiting -= len(tasks)
        return tasks
