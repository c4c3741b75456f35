"""By which proxy a server is reached: the usual variables say it (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY)."""

from __future__ import annotations

import ipaddress
from urllib.request import getproxies, proxy_bypass


def proxy_of(scheme: str, host: str, port: int | None) -> str | None:
    """The URL of the proxy, None for the direct way. One of the environment is for the world, not for this machine."""
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
