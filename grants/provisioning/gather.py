"""Which read-backs wait for each other: of a role that many are to have or to lose, all who have it are read at once.

One alone is never kept waiting. While many calls for a role are under way, or more is due than is in hand, those that
are done wait until they are enough for a list that long, or for PATIENCE.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

type Role = tuple[int, str]  # at which provider

LIST_FROM = 8  # read-backs of one role; fewer are read one by one
ROWS = 20  # of a list cost about as much as one person read alone
PATIENCE = 3.0  # seconds that a read-back waits for others: of 10,000 who have the role, 500 are enough for a list
NO_LIST = 10.0  # seconds for which no list is asked for again where there was none


class Gather[Task]:
    """The read-backs of one turn, by their role. Each method answers with those that are to be read now."""

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
        """A call is about to be made that is then to be read back."""
        with self._lock:
            self._under_way[role] += 1

    def add(self, role: Role, task: Task | None = None) -> list[Task]:
        """One that was expected is done, and is to be read back; or came to nothing."""
        with self._lock:
            self._under_way[role] -= 1
            if task is not None:
                self.waiting += 1
                self._tasks.setdefault(role, []).append(task)
                self._since.setdefault(role, time.monotonic())
            return self._ripe(role)

    def was_read(self, role: Role, *, size: int | None = None, in_vain: bool = False) -> list[Task]:
        """What was to be read is: from a list of this `size`, or each alone; `in_vain`: for want of a list."""
        with self._lock:
            self._reading.discard(role)
            if size is not None:
                self._size[role] = size
            if in_vain:
                self._no_list[role] = time.monotonic() + NO_LIST
            return self._ripe(role)

    def late(self) -> Iterator[tuple[Role, list[Task]]]:
        """What has waited for long enough."""
        with self._lock:
            ripe = [(role, self._ripe(role)) for role in list(self._tasks)]
        return ((role, tasks) for role, tasks in ripe if tasks)

    def enough(self, role: Role, count: int) -> bool:
        """Are so many enough for a list?"""
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
