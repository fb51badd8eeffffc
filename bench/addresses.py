"""Addresses of machines: which of them only this machine reaches."""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine alone; "auto" is the Ray cluster that this machine belongs to."""
    host = address.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
    host = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    if host in ("", "local", "auto", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
