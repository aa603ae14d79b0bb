"""Secrets that the engine makes for itself: once, whole, for its owner alone."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.main.keys import given_key, kept_key


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = kept_key(path)
    assert len(key) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_key(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    assert kept_key(tmp_path / "a") != kept_key(tmp_path / "b")


def test_a_key_that_others_could_read_is_shut(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("given\n")
    path.chmod(0o644)
    assert kept_key(path) == "given"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_key_is_refused_since_it_would_let_anybody_in(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n")
    with pytest.raises(PermanentError, match="is empty"):
        kept_key(path)


def test_a_token_that_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{'k3y_' * 8}\n")
    path.chmod(0o444)
    assert given_key(path) == "k3y_" * 8
    assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("content", ["", "k" * 31, "k" * 4097, f"{'k' * 20} {'k' * 20}", "ä" * 40, "k" * 40 + "\x00"])
def test_a_token_that_is_guessed_easily_or_can_not_be_sent_is_refused_and_not_shown(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(PermanentError, match="openssl rand -hex 32") as refused:
        given_key(path)
    assert not content or content not in str(refused.value)


def test_a_token_that_is_given_and_missing_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=f"PYMIGRATE_TOKEN_FILE: can't read {tmp_path}/token"):
        given_key(tmp_path / "token")
    assert not (tmp_path / "token").exists()
