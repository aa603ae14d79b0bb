"""Files that exports of the trail are written to: gone on with from their last position, and nobody else's."""

import stat
from pathlib import Path

import pytest
import typer

from pymigrate.engine.application.audit.trail_lines import CloudEventLines, JsonLines, LineForm
from pymigrate.engine.entrypoints.cli.audit_files import TAIL_BYTES_MAX, ExportFile


def position(token: str, form: LineForm | None = None) -> bytes:
    return (form or JsonLines()).other("position", {"resumeToken": token, "eventCount": 1, "isEnd": False})


EVENT = b'{"event":{"sequence":1,"detail":"a \\"position\\" of {resumeToken}"}}\n'


def test_a_new_file_begins_at_the_beginning_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = ExportFile.open(tmp_path / "trail.jsonl")
    assert (file.resume_token, file.kept_bytes) == ("", 0)
    file.write(EVENT)
    file.close()
    assert (tmp_path / "trail.jsonl").read_bytes() == EVENT
    assert stat.S_IMODE((tmp_path / "trail.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("form", [JsonLines(), CloudEventLines("here")])
@pytest.mark.parametrize("rest", [b"", EVENT, EVENT[:-1], EVENT + b'{"position":{"resumeToken":"c"', b"\x00\xff\n"])
def test_a_file_that_is_there_goes_on_behind_its_last_position(tmp_path: Path, rest: bytes, form: LineForm) -> None:
    path = tmp_path / "trail.jsonl"
    whole = EVENT + position("a", form) + EVENT + position("b", form)
    path.write_bytes(whole + rest)
    file = ExportFile.open(path)
    assert (file.resume_token, file.kept_bytes) == ("b", len(whole))
    file.write(b"next\n")
    file.close()
    assert path.read_bytes() == whole + b"next\n"


def test_of_a_large_file_its_end_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(position("a") + EVENT * (TAIL_BYTES_MAX // len(EVENT) + 10) + position("b") + EVENT)
    file = ExportFile.open(path)
    file.close()
    assert file.resume_token == "b"


@pytest.mark.parametrize(
    "text", [b"something of mine\n", EVENT, b'{"position":{"resumeToken":""}}\n', b'{"position":[]}\n']
)
def test_a_file_of_anything_else_is_left_alone(tmp_path: Path, text: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(text)
    with pytest.raises(typer.Exit):
        ExportFile.open(path)
    assert "name another file" in capsys.readouterr().err
    assert path.read_bytes() == text


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        ExportFile.open(tmp_path / "nowhere" / "trail.jsonl")
    assert "can't be written" in capsys.readouterr().err
