"""Who may be believed: over the bytes as they came, with either of two secrets, and nothing that differs by a bit."""

import base64
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.webhook_signatures import is_signed, is_strong
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.testing.clock import START
from tests.git_hosts.payloads import BITBUCKET, GITHUB, GITLAB, posted, standard_signed

PROVIDERS = (GITHUB, GITLAB, BITBUCKET)
SIGNED_WITH: Mapping[int, str] = {GITHUB: "x-hub-signature-256", GITLAB: "x-gitlab-token", BITBUCKET: "x-hub-signature"}
SECRET, BEFORE = "It's a Secret to Everybody", "the one of before"
TOKEN = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW = int(START.timestamp())


def believed(provider: int, headers: Mapping[str, str], body: bytes, *secrets: str) -> bool:
    """Whether it is taken with these secrets."""
    return is_signed(provider, headers, body, [Secret(each) for each in secrets], START)


@pytest.mark.parametrize(("provider", "header"), [(GITHUB, "x-hub-signature-256"), (BITBUCKET, "x-hub-signature")])
def test_the_example_of_the_hosts_documentation_is_believed(provider: int, header: str) -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert believed(provider, {header: f"sha256={digest}"}, b"Hello, World!", SECRET)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("secret", [SECRET, BEFORE])
def test_while_a_secret_is_replaced_either_is_good(provider: int, secret: str) -> None:
    assert believed(provider, *posted(provider, "push", b"{}", secret), SECRET, BEFORE)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_another_secret_or_none_is_not_believed(provider: int) -> None:
    headers, body = posted(provider, "push", b"{}", "somebody else's")
    assert not believed(provider, headers, body, SECRET, BEFORE)
    assert not believed(provider, {}, body, SECRET, BEFORE)
    assert not believed(provider, headers, body)


@pytest.mark.parametrize("provider", PROVIDERS)
@given(body=st.binary(min_size=1, max_size=200), data=st.data())
def test_a_flipped_bit_is_refused(provider: int, body: bytes, data: st.DataObject) -> None:
    headers, sent = posted(provider, "push", body, SECRET)
    signature = headers[SIGNED_WITH[provider]].encode()
    where = data.draw(st.integers(0, 8 * len(signature) - 1))
    flipped = bytearray(signature)
    flipped[where // 8] ^= 1 << where % 8
    assert not believed(provider, {SIGNED_WITH[provider]: flipped.decode("latin-1")}, sent, SECRET, BEFORE)
    if provider != GITLAB:  # whose token says nothing of the body
        place = data.draw(st.integers(0, 8 * len(body) - 1))
        other = bytearray(body)
        other[place // 8] ^= 1 << place % 8
        assert not believed(provider, headers, bytes(other), SECRET, BEFORE)


@pytest.mark.parametrize("given", ["", "sha256=", "sha1=757107", "757107ea", "sha256=ü", "sha256=" + "0" * 64])
def test_what_is_no_signature_is_refused(given: str) -> None:
    assert not believed(GITHUB, {"x-hub-signature-256": given}, b"Hello, World!", SECRET)


def test_githubs_older_signature_is_not_enough() -> None:
    headers, body = posted(GITHUB, "push", b"{}", SECRET)
    assert not believed(GITHUB, {"x-hub-signature": headers["x-hub-signature-256"]}, body, SECRET)


def test_gitlabs_signing_token_is_believed_while_it_is_recent() -> None:
    for late, is_good in ((0, True), (299, True), (-299, True), (301, False), (-301, False)):
        assert believed(GITLAB, standard_signed(TOKEN, b"{}", NOW + late), b"{}", TOKEN) is is_good


def test_a_gitlab_that_is_to_sign_is_not_believed_for_showing_the_token() -> None:
    assert not believed(GITLAB, {"x-gitlab-token": TOKEN}, b"{}", TOKEN)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_everything_that_gitlab_signs_counts(name: str) -> None:
    headers = standard_signed(TOKEN, b"{}", NOW)
    changed = {"webhook-id": "other", "webhook-timestamp": str(NOW - 1), "webhook-signature": "v1,AAAA"}[name]
    assert not believed(GITLAB, headers | {name: changed}, b"{}", TOKEN)
    assert not believed(GITLAB, {key: value for key, value in headers.items() if key != name}, b"{}", TOKEN)
    assert not believed(GITLAB, headers, b"{ }", TOKEN)


def test_one_of_several_signatures_is_enough() -> None:
    headers = standard_signed(TOKEN, b"{}", NOW)
    both = headers | {"webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}
    assert believed(GITLAB, both, b"{}", TOKEN)


@pytest.mark.parametrize("token", ["whsec_", "whsec_%", "whsec_ü"])
def test_a_token_that_is_no_base64_signs_nothing(token: str) -> None:
    assert not believed(GITLAB, {"webhook-timestamp": str(NOW), "webhook-signature": "v1,AAAA"}, b"{}", token)


@pytest.mark.parametrize(("secret", "is_good"), [("", False), ("1234567", False), ("12345678", True)])
def test_a_secret_that_everybody_guesses_is_none(secret: str, is_good: bool) -> None:
    assert is_strong(Secret(secret)) is is_good
