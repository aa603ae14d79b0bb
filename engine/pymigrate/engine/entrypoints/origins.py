"""Where a call comes from: the address at the other end of its connection, or, where that is a proxy that the settings trust, the one that
the proxy names. Nobody else is believed: whoever calls may write into a header what it likes."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import unquote

FORWARDED_FOR = "x-forwarded-for"
PROXIES_MAX = 16
FORWARDED_CHARACTERS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. `forwarded`: what it says of whom it calls for, each header that it sent; `certificate`: the one that
    it showed, checked against the authorities already, DER."""

    address: str = ""
    forwarded: tuple[str, ...] = ()
    certificate: bytes = b""


NOWHERE = Peer()


class Origins:
    """Tells where calls come from. `trusted` names the networks of proxies."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: tuple[IPv4Network | IPv6Network, ...] = tuple(map(ipaddress.ip_network, trusted))

    def of(self, peer: Peer) -> str:
        """The address, as nobody can have forged it; empty where there is none."""
        origin = _address(peer.address)
        if origin is None:
            return ""
        said = [part for header in peer.forwarded for part in header[-FORWARDED_CHARACTERS_MAX:].split(",")]
        # Each proxy adds whom it was called by at the end: what is before the last one that is not trusted may be anything.
        for text in reversed(said[-PROXIES_MAX:]):
            if not self._is_trusted(origin):
                break
            before = _address(text.strip())
            if before is None:
                break
            origin = before
        return str(origin)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def peer_address(grpc_peer: str) -> str:
    """The address of what gRPC calls a peer, such as `ipv4:127.0.0.1:40000` or `ipv6:%5B::1%5D:40000`; empty for one without."""
    kind, _, rest = unquote(grpc_peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both versions tells an address of the older one inside one of the newer.
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
