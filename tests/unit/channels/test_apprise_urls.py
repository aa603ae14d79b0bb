"""Apprise's URLs: an address is one target in them and nothing else, and whatever may be a token is kept secret."""

import pytest

from pymigrate.engine.adapters.channels.apprise_urls import filled, secrets_of
from pymigrate.engine.domain.errors import InvalidDefinition


@pytest.mark.parametrize(
    ("to", "written"),
    [
        ("ops", "ops"),
        ("#ops", "%23ops"),
        ("+41791234567", "%2B41791234567"),
        ("a/../b", "a%2F..%2Fb"),
        ("x?redirect=yes", "x%3Fredirect%3Dyes"),
        ("x@evil.example", "x%40evil.example"),
        ("zürich", "z%C3%BCrich"),
        ("{to}", "%7Bto%7D"),
    ],
)
def test_an_address_is_one_part_of_the_url_whatever_it_holds(to: str, written: str) -> None:
    assert filled("slack://A/B/C/{to}?footer=no", to) == f"slack://A/B/C/{written}?footer=no"


@pytest.mark.parametrize("to", ["", "a,b", "a;b", "a b", "a\nb", "a\x00", "x" * 1_001])
def test_an_address_that_is_more_than_one_target_is_refused(to: str) -> None:
    with pytest.raises(InvalidDefinition, match="to: "):
        filled("slack://A/B/C/{to}", to)


def test_a_url_without_a_place_for_it_needs_no_address() -> None:
    assert filled("slack://A/B/C/#ops", "") == "slack://A/B/C/#ops"


@pytest.mark.parametrize(
    "url",
    ["syslog://", "dbus://", "GNOME://", "windows://", "macosx://", "file:///etc/passwd", "blink1://", "deltachat://x"],
)
def test_what_speaks_to_the_machine_itself_is_refused(url: str) -> None:
    with pytest.raises(InvalidDefinition, match="the dispatcher's own machine"):
        filled(url, "x")


@pytest.mark.parametrize("name", ["redirect", "template", "keyfile", "optional", "Retry", "attach", "+redirect"])
def test_what_reads_files_or_hides_failures_may_not_be_asked_for(name: str) -> None:
    with pytest.raises(InvalidDefinition, match="may not have the parameter"):
        filled(f"slack://T0ken/{{to}}?{name}=file:///etc/passwd", "x")


@pytest.mark.parametrize("url", ["", "hunter2", "slack:hunter2", "json://[hunter2", "json://a\nb"])
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        filled(url, "x")
    assert "hunter2" not in refused.value.message


def test_every_part_that_may_be_a_token_is_a_secret() -> None:
    url = "slack://botname@T1JHG-token/A1BRTD4JD/p%40ss/{to}?key=qu3ry#fr4gment"
    found = {secret.reveal() for secret in secrets_of(url)}
    assert found == {"botname", "T1JHG-token", "A1BRTD4JD", "p%40ss", "p@ss", "qu3ry", "fr4gment"}


@pytest.mark.parametrize("host", ["hooks.example.com", "127.0.0.1", "localhost"])
def test_a_host_is_no_secret(host: str) -> None:
    found = {secret.reveal() for secret in secrets_of(f"json://us:passw0rd@{host}:8080/{{to}}")}
    assert found == {"passw0rd"}
