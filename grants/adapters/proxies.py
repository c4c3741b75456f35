"""Find the proxy for a server, from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

import ipaddress
from urllib.request import getproxies, proxy_bypass


def proxy_of(scheme: str, host: str, port: int | None) -> str | None:
    """Return the URL of the proxy, None for a direct connection. This machine is always reached directly."""
    named = getproxies()
    proxy = named.get(scheme) or named.get("all")
    if not proxy or _is_this_machine(host) or proxy_bypass(host if port is None else f"{host}:{port}"):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_this_machine(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
