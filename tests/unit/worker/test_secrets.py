"""Secrets are read by reference, and show themselves nowhere."""

import copy
import dataclasses
import json
import logging
import pickle
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.secrets import HIDDEN, Secret, SecretRef, parse_secret_ref

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=HIDDEN), min_size=8).filter(
    lambda text: text.strip() == text
)


@given(VALUES)
def test_a_secret_shows_itself_in_no_repr_format_or_dump(value: str) -> None:
    secret = Secret(value)
    spec = SystemSpec("postgres", "legacy", {}, secret)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret]), repr(spec)):
        assert value not in text
    record = logging.LogRecord("x", logging.INFO, "x", 1, "connecting %s %r", (spec, secret), None)
    assert value not in record.getMessage()
    assert secret.reveal() == value


def test_a_secret_is_not_pickled_or_copied() -> None:
    for dump in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            dump(Secret("hunter22"))


@pytest.mark.parametrize("spec", ["", "s", ">40", ".3"])
def test_no_format_tells_of_a_secret_or_of_its_length(spec: str) -> None:
    assert format(Secret("hunter22"), spec) == format(Secret("h"), spec) == f"Secret({HIDDEN})"


@pytest.mark.parametrize(
    "show",
    [bytes, json.dumps, orjson.dumps, vars, dataclasses.asdict, iter, len, hash, list, float],
    ids=lambda show: f"{show.__module__}.{show.__qualname__}",
)
def test_a_secret_is_nothing_that_a_value_could_be_read_from(show: Callable[[object], object]) -> None:
    shown = (
        SystemSpec("postgres", "legacy", {}, Secret("hunter22")) if show is dataclasses.asdict else Secret("hunter22")
    )
    with pytest.raises(TypeError) as refused:
        show(shown)
    assert "hunter22" not in str(refused.value)


def test_secrets_are_compared_by_value_and_with_nothing_else() -> None:
    assert Secret("hunter22\ud800") == Secret("hunter22\ud800")
    assert Secret("hunter22") != Secret("hunter23")
    assert Secret("hunter22") != "hunter22"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("env://PG_PASSWORD", SecretRef("env", "PG_PASSWORD")),
        ("file:///run/secrets/pg", SecretRef("file", "/run/secrets/pg")),
        ("file:///run/secrets.json#pg", SecretRef("file", "/run/secrets.json", "pg")),
        ("aws-sm://prod/legacy#password", SecretRef("aws-sm", "prod/legacy", "password")),
        ("vault://transit/decrypt/key#vault:v1:aGk=", SecretRef("vault", "transit/decrypt/key", "vault:v1:aGk=")),
    ],
)
def test_a_reference_is_read_and_written_alike(text: str, ref: SecretRef) -> None:
    assert parse_secret_ref(text, "password") == ref
    assert str(ref) == text


@given(VALUES.filter(lambda text: "://" not in text))
def test_what_is_no_reference_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(InvalidDefinition) as wrong:
        parse_secret_ref(value, "postgres.password")
    assert value not in str(wrong.value).removeprefix("postgres.password: ")
    assert wrong.value.field == "postgres.password"


@pytest.mark.parametrize(
    "text",
    ["env://", "://x", "no-scheme!://x", "Vault://x", "-x://y", f"{'x' * 64}://y", "vault://a b", "vault://kv/a#"],
)
def test_half_a_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidDefinition):
        parse_secret_ref(text, "password")
