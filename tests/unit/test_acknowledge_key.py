"""The key that links are signed with: made once, kept by its owner alone, and never replaced behind anybody's back."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.main.notifications import KEY_BYTES, acknowledge_key


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "acknowledge-key"
    key = acknowledge_key(path)
    assert len(key) == KEY_BYTES
    assert acknowledge_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_engines_have_two_keys(tmp_path: Path) -> None:
    assert acknowledge_key(tmp_path / "a") != acknowledge_key(tmp_path / "b")


def test_what_a_start_left_half_written_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "acknowledge-key.new").write_text("12")
    assert len(acknowledge_key(tmp_path / "acknowledge-key")) == KEY_BYTES


@pytest.mark.parametrize("text", ["", "12", "not hexadecimal", "00" * (KEY_BYTES + 1)])
def test_a_file_that_holds_no_key_is_told_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "acknowledge-key"
    path.write_text(text)
    with pytest.raises(PermanentError, match="remove it"):
        acknowledge_key(path)
    assert path.read_text() == text
