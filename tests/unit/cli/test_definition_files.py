"""Which files a command reads: folders in order, hidden ones and links out of them left alone, standard input."""

import io
import os
import sys
from pathlib import Path

import pytest

from pymigrate.engine.application.gitops.limits import FILE_BYTES_MAX
from pymigrate.engine.entrypoints.cli.definition_files import FilesRefused, definition_files


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of definitions, beside another one, seen from above."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "in/b.yaml",
        "in/a/z.yml",
        "in/a/y.json",
        "in/read.md",
        "in/.hidden.yaml",
        "in/.git/c.yaml",
        "out/o.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(*paths: Path) -> list[str]:
    """The paths of the files that are read."""
    return [file.path for file in definition_files(paths)]


def test_a_folder_is_read_with_everything_below_it_in_order_but_for_what_is_hidden(tree: Path) -> None:
    assert names(Path("in")) == ["in/a/y.json", "in/a/z.yml", "in/b.yaml"]
    assert definition_files([Path("in/b.yaml")])[0].content == b"in/b.yaml"


def test_paths_are_told_from_where_the_command_runs(tree: Path) -> None:
    assert names(tree / "in" / "b.yaml", Path("./in/../out/o.yaml")) == ["in/b.yaml", "out/o.yaml"]


def test_a_file_that_is_named_twice_is_read_once(tree: Path) -> None:
    assert names(Path("in/b.yaml"), Path("in"), tree / "in/b.yaml") == ["in/b.yaml", "in/a/y.json", "in/a/z.yml"]


def test_links_out_of_the_folder_and_to_folders_are_skipped_with_a_word(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "in/l.yaml").symlink_to(tree / "out/o.yaml")
    (tree / "in/broken.yaml").symlink_to(tree / "in/nothing.yaml")
    (tree / "in/folder").symlink_to(tree / "out")
    assert names(Path("in")) == ["in/a/y.json", "in/a/z.yml", "in/b.yaml"]
    said = capsys.readouterr().err
    assert "skipped: in/l.yaml is a link out of the folder" in said
    assert "skipped: in/broken.yaml is a link to no file" in said
    assert "skipped: in/folder is a link to a folder" in said


def test_links_within_the_folder_count_once(tree: Path) -> None:
    (tree / "in/again.yaml").symlink_to("b.yaml")
    (tree / "in/of_hidden.yaml").symlink_to(".git/c.yaml")
    assert names(Path("in")) == ["in/a/y.json", "in/a/z.yml", "in/b.yaml", "in/of_hidden.yaml"]


def test_what_is_no_file_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "in/pipe.yaml")
    assert "in/pipe.yaml" not in names(Path("in"))


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1")))
    (file,) = definition_files([Path("-")])
    assert (file.path, file.content) == ("stdin", b"a: 1")


def test_no_more_of_a_file_is_read_than_tells_that_it_is_too_large(tree: Path) -> None:
    with (tree / "big.yaml").open("wb") as file:
        file.truncate(10 * FILE_BYTES_MAX)
    assert len(definition_files([Path("big.yaml")])[0].content) == FILE_BYTES_MAX + 1


def test_so_many_bytes_are_read_at_once(tree: Path) -> None:
    for at in range(17):
        with (tree / f"in/big{at}.yaml").open("wb") as file:
            file.truncate(FILE_BYTES_MAX)
    with pytest.raises(FilesRefused, match="at most 10,000 files of 67,108,864 bytes in all"):
        definition_files([Path("in")])


@pytest.mark.parametrize(("path", "said"), [("missing.yaml", "can't be read: No such file"), ("empty", "holds no")])
def test_what_is_not_there_is_told(tree: Path, path: str, said: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(FilesRefused, match=said):
        definition_files([Path(path)])
