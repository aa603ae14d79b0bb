"""Files and folders that the worker host's user may not read: told by name, and never passed over among others."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.files_glob import matching
from pymigrate.engine.adapters.connectors.stored_files import LocalFolder
from pymigrate.engine.domain.errors import SourceMissing
from tests.integration.connectors.source_files import Folder
from tests.servers import UNPRIVILEGED_USER

PACKED = ("csv", "csv.gz", "csv.zst", "jsonl", "parquet")
# Everything is imported before the process becomes another user, who may not be able to read the interpreter's own files.
READING = """
import os, sys
from pathlib import Path
from pymigrate.engine.domain.errors import PyMigrateError
from tests.integration.connectors.source_files import Folder
folder, user, readable, *names = sys.argv[1:]
found = Folder(Path(folder))
found.rows(readable)
if user != "0":
    os.setegid(int(user))
    os.seteuid(int(user))
for name in names:
    try:
        print(name, "=", sorted(row[0] for row in found.rows(name)))
    except PyMigrateError as error:
        print(name, "!", type(error).__name__, getattr(error, "field", ""), error.message)
"""


@pytest.fixture
def open_folder() -> Iterator[Folder]:
    """A folder that every user may look into, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="pymigrate-files-"))
    path.chmod(0o755)
    yield Folder(path)
    for closed in path.rglob("*"):
        closed.chmod(0o755)
    shutil.rmtree(path)


def read_by_another(folder: Folder, *names: str) -> dict[str, str]:
    """What a user who owns nothing of it gets for each relation: `= rows` or `! error`."""
    user = str(pwd.getpwnam(UNPRIVILEGED_USER).pw_uid) if os.geteuid() == 0 else "0"
    folder.write("open.csv", "name\nopen\n")
    done = subprocess.run(
        [sys.executable, "-c", READING, str(folder.path), user, "open.csv", *names],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("ending", PACKED)
def test_a_file_without_permission_is_named_with_the_user_who_lacks_it(open_folder: Folder, ending: str) -> None:
    open_folder.write(f"closed.{ending}", b"anything")
    (open_folder.path / f"closed.{ending}").chmod(0)
    found = read_by_another(open_folder, f"closed.{ending}", "open.csv", f"*.{ending}")
    assert found["open.csv"] == "= ['open']"
    for name in (f"closed.{ending}", f"*.{ending}"):
        assert found[name].startswith("! SourceMissing source.relation ")
        assert "can't be read by the worker host's user (number " in found[name]
        assert "Permission denied" in found[name]
        assert f"{open_folder.path}/closed.{ending}" in found[name]


def test_a_folder_without_permission_is_not_passed_over_where_a_glob_may_match_in_it(open_folder: Folder) -> None:
    for folder in ("closed", "other"):
        (open_folder.path / folder).mkdir()
        open_folder.write(f"{folder}/a.csv", "name\na\n")
    (open_folder.path / "closed").chmod(0)
    missing = "! SourceMissing source.relation folder closed can't be read by the worker host's user"
    found = read_by_another(open_folder, "**/*.csv", "*/*.csv", "c*/a.csv", "closed/*.csv", "*.csv", "other/*.csv")
    for name in ("**/*.csv", "*/*.csv", "c*/a.csv", "closed/*.csv"):
        assert found[name].startswith(missing), name
    assert found["*.csv"] == "= ['open']"
    assert found["other/*.csv"] == "= ['a']"


def test_a_folder_in_a_files_place_is_told_with_what_may_have_been_meant(open_folder: Folder) -> None:
    (open_folder.path / "orders.csv").mkdir()
    with pytest.raises(SourceMissing, match=r"`orders\.csv` is a folder, not a file: name `orders\.csv/\*`"):
        open_folder.rows("orders.csv")


def test_more_files_than_are_looked_through_are_refused_and_not_cut_off(open_folder: Folder) -> None:
    for number in range(4):
        open_folder.write(f"{number}.csv", f"name\n{number}\n")
    few = LocalFolder(open_folder.path, files_max=3)
    with pytest.raises(SourceMissing, match="more than 3 files below"):
        matching(few, "*.csv")
    assert few.names() == ["0.csv", "1.csv", "2.csv"]
