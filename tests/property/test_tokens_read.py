"""Whatever is shown as a credential is read, or refused; nothing else comes of it."""

import base64

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.identity.json_web_tokens import (
    check_audience,
    check_header,
    check_times,
    name_of,
    shown_token,
)
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.entrypoints.client_certificates import certificate_identity
from pymigrate.engine.entrypoints.identity import bearer_token
from pymigrate.engine.entrypoints.origins import Origins, Peer
from pymigrate.engine.testing.clock import START

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CLAIMS = st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "typ", "crit"]), VALUES)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


@given(st.lists(st.text(max_size=200) | st.text(max_size=200).map(lambda text: f"Bearer {text}"), max_size=3))
def test_any_headers_are_a_token_or_refused(headers: list[str]) -> None:
    try:
        token = bearer_token(headers)
    except Unauthenticated:
        return
    assert token.isascii()
    assert token.isprintable()


@given(
    st.text(max_size=300)
    | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", fullmatch=True)
)
def test_any_text_is_a_token_with_header_and_claims_or_none(text: str) -> None:
    shown = shown_token(text)
    assert shown is None or (isinstance(shown.header, dict) and isinstance(shown.claims, dict))


@given(CLAIMS, CLAIMS)
def test_any_claims_are_held_to_what_they_must_say(header: dict[str, object], claims: dict[str, object]) -> None:
    shown = shown_token(f"{encoded(header)}.{encoded(claims)}.")
    assert shown is not None
    checks = (
        lambda: check_header(shown.header),
        lambda: check_times(shown.claims, START, 30.0),
        lambda: check_audience(shown.claims, "pymigrate"),
        lambda: name_of(shown.claims, "sub"),
    )
    for check in checks:
        try:
            check()
        except Unauthenticated:
            continue


@given(st.text(max_size=50), st.lists(st.text(max_size=100), max_size=3))
def test_any_headers_of_proxies_lead_to_an_address_or_none(address: str, forwarded: list[str]) -> None:
    for trusted in ((), ("0.0.0.0/0", "::/0")):
        origin = Origins(trusted).of(Peer(address, tuple(forwarded)))
        assert origin == "" or Origins().of(Peer(origin)) == origin


@given(st.binary(max_size=300))
def test_any_bytes_are_a_certificate_or_refused(content: bytes) -> None:
    try:
        certificate_identity(content, START)
    except Unauthenticated:
        return
