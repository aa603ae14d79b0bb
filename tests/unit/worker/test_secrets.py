"""Secrets are read by reference, and show themselves nowhere."""

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.secrets.env import EnvSecrets
from pymigrate.engine.adapters.secrets.file import FileSecrets
from pymigrate.engine.adapters.secrets.schemes import SecretsByScheme
from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import HIDDEN, Secret, SecretRef, parse_secret_ref

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=HIDDEN), min_size=8).filter(
    lambda text: text.strip() == text
)


def refused(read: object, ref: SecretRef) -> str:
    with pytest.raises(SecretMissing) as missing:
        read.read(ref)  # type: ignore[attr-defined]  # any of the places
    return "".join(traceback.format_exception(missing.value))


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
    "show", [bytes, json.dumps, orjson.dumps, vars, dataclasses.asdict, iter, len, hash, list, float], ids=str
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


@pytest.mark.parametrize("text", ["env://", "://x", "no-scheme!://x"])
def test_half_a_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidDefinition):
        parse_secret_ref(text, "password")


def test_a_variable_is_read_without_its_last_newline_and_a_missing_one_is_named() -> None:
    secrets = EnvSecrets({"PG": "a b\n", "EMPTY": ""})
    assert secrets.read(SecretRef("env", "PG")).reveal() == "a b"
    assert secrets.read(SecretRef("env", "EMPTY")).reveal() == ""
    assert "env://PGX" in refused(secrets, SecretRef("env", "PGX"))


def test_a_file_is_read_whole_or_by_a_field_of_its_json(tmp_path: Path) -> None:
    secrets, path = FileSecrets(), tmp_path / "pass word"
    path.write_text("line one\nline two\r\n")
    assert secrets.read(SecretRef("file", str(path).replace(" ", "%20"))).reveal() == "line one\nline two"
    path.write_text('{"pg": "hunter2", "port": 5432}')
    assert secrets.read(SecretRef("file", str(path), "pg")).reveal() == "hunter2"
    assert secrets.read(SecretRef("file", str(path), "port")).reveal() == "5432"


def test_a_file_that_holds_no_secret_is_refused_without_its_content(tmp_path: Path) -> None:
    secrets, path = FileSecrets(), tmp_path / "secret"
    assert "No such file" in refused(secrets, SecretRef("file", str(path)))
    assert "absolute" in refused(secrets, SecretRef("file", "secret"))
    for content in (b"hunter2", b'["hunter2"]', b'{"other": "hunter2"}', b'{"pg": {"a": "hunter2"}}', b'{"pg": true}'):
        path.write_bytes(content)
        assert "hunter2" not in refused(secrets, SecretRef("file", str(path), "pg"))
    path.write_bytes(b"hunter2\xff")
    assert "hunter2" not in refused(secrets, SecretRef("file", str(path)))
    path.write_bytes(b"x" * 1_000_001)
    assert "1,000,000 bytes" in refused(secrets, SecretRef("file", str(path)))


def test_the_scheme_chooses_the_place_and_the_redactor_hears_of_the_value() -> None:
    redactor = Redactor()
    secrets = SecretsByScheme({"env": EnvSecrets({"PG": "hunter2"})}, redactor)
    assert secrets.read(SecretRef("env", "PG")).reveal() == "hunter2"
    assert redactor.clean("password=hunter2") == f"password={HIDDEN}"
    assert "use one of env://" in refused(secrets, SecretRef("vault", "kv/pg"))
