"""A bucket of tries for each key, an address mostly, which fills again with time. Bounded in memory.

The library `limits` was not taken: its memory grows with the number of addresses, and a thread of its own clears it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

MOST = 10_000  # keys that are remembered; the one whose last try is oldest is forgotten


class Tries:
    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """A bucket holds `most` tries; each comes back after so many `seconds`."""
        self._most, self._seconds, self._clock = most, seconds, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when each bucket is full again

    def take(self, key: str) -> bool:
        """Take one try; give False where none is left."""
        now = self._clock()
        full_at = max(now, self._full_at.get(key, now)) + self._seconds
        if full_at - now > self._most * self._seconds + 1e-6:
            return False
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        while len(self._full_at) > MOST:
            self._full_at.popitem(last=False)
        return True

    def give_back(self, key: str) -> None:
        """Return a try: it succeeded."""
        if key in self._full_at:
            self._full_at[key] -= self._seconds


def network_of(peer: str) -> str:
    """An address as it is counted. Of IPv6 it is the /64 network, which one household has whole."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def is_address(hop: str) -> bool:
    try:
        ip_address(hop)
    except ValueError:
        return False
    return True
