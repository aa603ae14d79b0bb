"""What an outgoing connection may lead to: the public internet, and whatever an operator has allowed besides.

A name is resolved once, each address is judged, and the connection goes to an address that was judged: a name that answers differently the
next time leads nowhere else. What is private, this machine or a cloud's metadata is refused unless it is allowed.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pymigrate.engine.domain.errors import InvalidDefinition, PermanentError, Problem

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Iterable[str]]]

ALLOWED = "PYMIGRATE_OUTGOING_ALLOWED"
ADDRESSES_TRIED_MAX = 4
CONNECT_SECONDS_MAX = 5.0
TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
# Not one of these is of the public internet, whatever the version of the standard library says of it.
RESERVED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared by providers, and where a cloud keeps its metadata
        "168.63.129.16/32",  # a cloud's own agent, at an address that looks public
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "fec0::/10",
    )
)


class AddressRefused(PermanentError):
    """A host leads to nothing that may be connected to. The message does not tell where: what is inside a network is nobody's business."""

    reason = "ADDRESS_REFUSED"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that was judged, and its port."""

    address: Address
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """What a socket is made for."""
        return socket.AF_INET if self.address.version == 4 else socket.AF_INET6


class OutgoingAddresses:
    """Judges and connects. `allowed` names networks (`10.0.0.0/8`), addresses, and hosts (`mail.intern`) that may lead anywhere."""

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve | None = None) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._hosts: set[str] = set()
        for entry in filter(None, (entry.strip() for entry in allowed)):
            self._allow(entry)
        self._resolve = resolve or _resolved

    @property
    def allowed(self) -> Sequence[str]:
        """What was allowed, for a process that judges on its own."""
        return [*map(str, self._networks), *sorted(self._hosts)]

    def judge(self, text: str) -> str:
        """Why an address may not be connected to; empty where it may."""
        address = _address(text)
        if address is None:
            return "no address"
        if self._is_allowed(address):
            return ""
        embedded = _embedded(address)
        return _objection(address if embedded is None else embedded)

    def is_allowed_host(self, host: str) -> bool:
        """Whether a name may lead anywhere."""
        return host.lower().rstrip(".") in self._hosts

    async def endpoints(self, host: str, port: int, *, only_allowed: bool = False) -> Sequence[Endpoint]:
        """Where a host may be reached, in the resolver's order; with `only_allowed`, the public internet does not count. Raises
        AddressRefused where nothing is left, and OSError where the name can't be resolved."""
        try:
            found = [address for address in map(_address, await self._resolve(host, port)) if address is not None]
        except UnicodeError as error:
            raise OSError(f"`{host}` is no name of a host") from error
        if self.is_allowed_host(host):
            return [Endpoint(address, port) for address in found]
        objections = [self.judge(str(address)) for address in found]
        fitting = [
            Endpoint(address, port)
            for address, objection in zip(found, objections, strict=True)
            if self._is_allowed(address) or (not objection and not only_allowed)
        ]
        if found and not fitting:
            said = next(filter(None, objections), "a public address, and this is only for networks that are allowed")
            raise AddressRefused(f"{host} leads to {said}: name its network in {ALLOWED} if messages may go there")
        return fitting

    async def connect(self, host: str, port: int, *, only_allowed: bool = False) -> socket.socket:
        """A socket that is connected and does not block. Raises AddressRefused and OSError."""
        loop = asyncio.get_running_loop()
        failure = OSError(f"`{host}` has no address")
        for endpoint in (await self.endpoints(host, port, only_allowed=only_allowed))[:ADDRESSES_TRIED_MAX]:
            connecting = socket.socket(endpoint.family, socket.SOCK_STREAM)
            try:
                connecting.setblocking(False)
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    await loop.sock_connect(connecting, (str(endpoint.address), port))
            except OSError as error:  # TimeoutError is one
                connecting.close()
                failure = error
            except BaseException:
                connecting.close()
                raise
            else:
                return connecting
        raise failure

    def _allow(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            if "/" in entry or ":" in entry or any(character.isspace() for character in entry):
                said = f"`{entry}` is neither a network such as 10.0.0.0/8 nor a host such as mail.intern"
                raise InvalidDefinition((Problem(ALLOWED, said),)) from None
            self._hosts.add(entry.lower().rstrip("."))

    def _is_allowed(self, address: Address) -> bool:
        forms = (address, _embedded(address))
        return any(form in network for form in forms if form is not None for network in self._networks)


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, translated (NAT64), compatible, or by 6to4."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in TRANSLATED) and int(address) & 0xFFFF_FFFF > 1:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour


def _objection(address: Address) -> str:
    """What an address is where it is none of the public internet."""
    if address.is_loopback:
        return "this machine itself"
    if address.is_unspecified:
        return "no address in particular"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_reserved or any(address in network for network in RESERVED):
        return "a reserved address"
    return "" if address.is_global else "a private address"


async def _resolved(host: str, port: int) -> Iterable[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)
