"""Where a call comes from, and that nobody writes it for himself."""

import pytest

from pymigrate.engine.entrypoints.origins import Origins, Peer, peer_address


def test_a_call_comes_from_the_other_end_of_its_connection() -> None:
    assert Origins().of(Peer("203.0.113.7", ("198.51.100.1",))) == "203.0.113.7"


def test_a_trusted_proxy_says_whom_it_calls_for() -> None:
    assert Origins(["10.0.0.0/8"]).of(Peer("10.1.2.3", ("198.51.100.1",))) == "198.51.100.1"


def test_what_a_caller_wrote_before_the_proxy_did_is_not_believed() -> None:
    forged = Peer("10.1.2.3", ("127.0.0.1, 198.51.100.1",))
    assert Origins(["10.0.0.0/8"]).of(forged) == "198.51.100.1"
    assert Origins(["10.0.0.0/8"]).of(Peer("10.1.2.3", ("127.0.0.1", "198.51.100.1"))) == "198.51.100.1"


def test_proxies_before_proxies_are_looked_through() -> None:
    assert Origins(["10.0.0.0/8"]).of(Peer("10.1.2.3", ("198.51.100.1, 10.9.9.9",))) == "198.51.100.1"


@pytest.mark.parametrize("said", ["", "unknown", "198.51.100.1, nonsense", "\x00", "," * 10_000])
def test_a_proxy_that_says_nothing_of_use_is_where_the_call_comes_from(said: str) -> None:
    assert Origins(["10.0.0.0/8"]).of(Peer("10.1.2.3", (said,))) == "10.1.2.3"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:40000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:40000", "::1"),
        ("ipv6:[2001:db8::1]:40000", "2001:db8::1"),
        ("unix:/run/engine", ""),
        ("", ""),
    ],
)
def test_what_grpc_calls_a_peer_is_read_as_an_address(peer: str, address: str) -> None:
    assert peer_address(peer) == address


def test_an_older_address_inside_a_newer_one_is_the_older_one() -> None:
    assert Origins(["10.0.0.0/8"]).of(Peer("::ffff:10.1.2.3", ("198.51.100.1",))) == "198.51.100.1"
