"""Addresses over HTTP that are declared: which are none, and which hosts are this machine."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_problem(url: str, written: str) -> str:
    """What is wrong with a server's address; empty: nothing. `written` shows how one is written. Plain HTTP is for this machine alone."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"is no address: write it as {written}"
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not url.isprintable():
        return f"is no address: write it as {written}"
    if parts.username is not None or parts.password is not None:
        return "must hold no user and no password"
    if parts.scheme == "http" and not is_loopback(host):
        return "must be https: plain http is for this machine alone"
    return ""
