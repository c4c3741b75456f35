"""The address of a caller, by which tries and connections are counted. No address is granted or refused anything."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import chain

from aiohttp import web

from grants.gate.bounds.tries import is_address, network_of

type Network = IPv4Network | IPv6Network

HEADER = "X-Forwarded-For"  # read only from a proxy in STINT_GATE_PROXIES


class Addresses:
    def __init__(self, proxies: Sequence[Network] = ()) -> None:
        self._proxies = tuple(proxies)

    def is_proxy(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._proxies)

    def of(self, request: web.BaseRequest) -> str:
        """The last hop before our own proxies: whatever stands before it may be made up."""
        peer = request.remote or ""
        if not self.is_proxy(peer):
            return network_of(peer)
        said = chain.from_iterable(value.split(",") for value in request.headers.getall(HEADER, ()))
        for hop in reversed([one.strip() for one in said]):
            if not is_address(hop):
                break
            if not self.is_proxy(hop):
                return network_of(hop)
        return network_of(peer)
