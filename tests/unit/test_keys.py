"""Secrets that the engine makes for itself: once, whole, for its owner alone."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.main.keys import kept_key


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
