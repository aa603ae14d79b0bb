"""What outgoing connections may lead to: a name is resolved once, and nothing private is connected to unless it is allowed."""

import socket
from collections.abc import Iterable

import pytest

from pymigrate.engine.adapters.channels.addresses import AddressRefused, OutgoingAddresses
from pymigrate.engine.domain.errors import InvalidDefinition

PUBLIC = "93.184.215.14"
NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "100::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:a9fe:a9fe::1",
    "2002:0a00:0001::",
]


class Names:
    """A resolver that answers from a table, and counts how often it is asked."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Iterable[str]:
        self.asked += 1
        found = self.answers.get(host, [])
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found


async def reached(host: str, *answers: str, allowed: Iterable[str] = (), only_allowed: bool = False) -> list[str]:
    """The addresses that a host may be reached at."""
    addresses = OutgoingAddresses(allowed, Names(**{host: list(answers)}))
    return [str(each.address) for each in await addresses.endpoints(host, 443, only_allowed=only_allowed)]


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match="PYMIGRATE_OUTGOING_ALLOWED"):
        await reached("hooks", address)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"])
async def test_the_public_internet_is_reached_in_every_spelling(address: str) -> None:
    assert len(await reached("hooks", address)) == 1


async def test_of_a_name_that_leads_to_both_only_the_public_address_is_connected_to() -> None:
    assert await reached("hooks", "10.0.0.1", PUBLIC, "::1") == [PUBLIC]


@pytest.mark.parametrize("allowed", ["10.0.0.0/8", "10.1.2.3", " 10.1.0.0/16 ", "hooks", "HOOKS."])
async def test_what_is_allowed_by_network_address_or_name_is_reached(allowed: str) -> None:
    assert await reached("hooks", "10.1.2.3", allowed=["", allowed]) == ["10.1.2.3"]


async def test_an_allowed_network_holds_for_addresses_that_stand_for_its_own() -> None:
    assert await reached("hooks", "::ffff:10.1.2.3", allowed=["10.0.0.0/8"]) == ["::ffff:a01:203"]


async def test_an_allowed_name_allows_no_other_that_leads_there() -> None:
    with pytest.raises(AddressRefused):
        await reached("other", "10.1.2.3", allowed=["hooks"])


async def test_what_is_for_allowed_networks_only_does_not_reach_the_public_internet() -> None:
    with pytest.raises(AddressRefused, match="a public address"):
        await reached("mail", PUBLIC, allowed=["10.0.0.0/8"], only_allowed=True)
    assert await reached("mail", PUBLIC, "10.0.0.1", allowed=["10.0.0.0/8"], only_allowed=True) == ["10.0.0.1"]


async def test_a_refusal_does_not_tell_the_address_that_a_name_leads_to() -> None:
    with pytest.raises(AddressRefused) as refused:
        await reached("payroll", "10.1.2.3")
    assert "10.1.2.3" not in refused.value.message
    assert "payroll leads to a private address" in refused.value.message


@pytest.mark.parametrize("host", ["nowhere", "a" * 300, "a..b", ""])
async def test_a_name_that_leads_nowhere_is_an_error_of_the_network(host: str) -> None:
    async def resolve(host: str, port: int) -> Iterable[str]:
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(OSError, match=r"not known|no name"):
        await OutgoingAddresses(resolve=resolve).endpoints(host, 443)


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "10.0.0.0/8/8", "http://hooks", "two words"])
def test_what_is_neither_network_nor_host_can_not_be_allowed(entry: str) -> None:
    with pytest.raises(InvalidDefinition, match="PYMIGRATE_OUTGOING_ALLOWED"):
        OutgoingAddresses([entry])


async def test_a_connection_asks_for_the_name_once_and_goes_where_it_was_judged_to_lead() -> None:
    names = Names(mail=["10.0.0.1", "127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses = OutgoingAddresses(["127.0.0.0/8"], names)
        connected = await addresses.connect("mail", server.getsockname()[1])
        with connected:
            assert connected.getpeername() == server.getsockname()
    assert names.asked == 1


async def test_an_address_that_does_not_answer_leaves_the_next_to_be_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses = OutgoingAddresses(["127.0.0.0/8"], Names(mail=["127.0.0.2", "127.0.0.1"]))
        with await addresses.connect("mail", server.getsockname()[1]) as connected:
            assert connected.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f000001", "127.1", "017700000001", "localhost"])
async def test_the_system_s_own_spellings_of_loopback_are_refused(spelling: str) -> None:
    with pytest.raises(AddressRefused, match="this machine"):
        await OutgoingAddresses().connect(spelling, 80)
