"""The embedded store's file: private, locked for one engine, of the right schema, quick to open."""

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store import schema
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.adapters.store.sqlite_file import is_reset_safe, opened
from pymigrate.engine.domain.errors import FailedPrecondition, StoreUnavailable
from pymigrate.engine.testing.clock import ManualClock


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_in(home: Path) -> dict[str, int]:
    return {path.name: mode_of(path) for path in home.iterdir()}


def file_in(home: Path, content: bytes = b"", mode: int = 0o600) -> Path:
    home.mkdir()
    file = home / "store"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def test_only_the_owner_reaches_the_files(home: Path) -> None:
    before = os.umask(0)
    try:
        store = await SqliteStore.open(home / "store", SystemClock())
        await store.transact(lambda unit: unit.hosts.delete("none"))
        modes = modes_in(home)
        assert modes.keys() >= {"store", "store.lock"}
        assert set(modes.values()) == {0o600}
        assert mode_of(home) == 0o700
        await store.close()
    finally:
        os.umask(before)


async def test_a_file_that_others_could_read_is_closed_to_them(home: Path) -> None:
    file_in(home, mode=0o666)
    await (await SqliteStore.open(home / "store", ManualClock())).close()
    assert mode_of(home / "store") == 0o600


async def test_a_second_engine_is_told_which_process_has_the_store(home: Path) -> None:
    store = await SqliteStore.open(home / "store", ManualClock())
    with pytest.raises(FailedPrecondition, match=rf"another engine, process {os.getpid()}: stop that one"):
        await SqliteStore.open(home / "store", ManualClock())
    assert await store.read(lambda unit: list(unit.hosts.list())) == []
    await store.close()
    await (await SqliteStore.open(home / "store", ManualClock())).close()


async def test_a_link_to_a_store_is_the_same_store(home: Path) -> None:
    store = await SqliteStore.open(home / "store", ManualClock())
    (home / "link").symlink_to(home / "store")
    with pytest.raises(FailedPrecondition, match="another engine"):
        await SqliteStore.open(home / "link", ManualClock())
    await store.close()


async def test_an_owner_that_has_not_said_its_name_is_unknown(home: Path) -> None:
    file_in(home)
    with (home / "store.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FailedPrecondition, match="process unknown"):
            await SqliteStore.open(home / "store", ManualClock())


async def test_an_engine_that_failed_to_open_leaves_no_lock_behind(home: Path) -> None:
    file_in(home, b"no database, but long enough to be taken for one" * 40)
    with pytest.raises(FailedPrecondition, match="no database"):
        await SqliteStore.open(home / "store", ManualClock())
    (home / "store").unlink()
    await (await SqliteStore.open(home / "store", ManualClock())).close()


@pytest.mark.parametrize("name", ["store", "store.lock"])
async def test_a_folder_in_the_place_of_a_file_is_refused(home: Path, name: str) -> None:
    (home / name).mkdir(parents=True)
    with pytest.raises(FailedPrecondition, match="directory"):
        await SqliteStore.open(home / "store", ManualClock())


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_versions_with_the_write_ahead_log_defect_are_known(version: tuple[int, ...], is_safe: bool) -> None:
    assert is_reset_safe(version) is is_safe


def test_a_commit_is_on_disk_before_it_is_acknowledged(home: Path) -> None:
    with opened(home / "store", lambda _: None) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        names = ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")
        pragmas = {name: driver.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
    full = 2
    assert pragmas == {"journal_mode": "wal", "synchronous": full, "foreign_keys": 1, "wal_autocheckpoint": 1000}


@pytest.mark.skipif(is_reset_safe(sqlite3.sqlite_version_info), reason="this SQLite resets its log safely")
async def test_no_other_program_gets_at_a_file_that_it_could_damage(home: Path) -> None:
    store = await SqliteStore.open(home / "store", ManualClock())
    other = sqlite3.connect(home / "store", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT count(*) FROM run")
    other.close()
    await store.close()


async def test_a_store_that_another_program_writes_to_is_unavailable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await SqliteStore.open(home / "store", ManualClock())).close()
    other = sqlite3.connect(home / "store", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("pymigrate.engine.adapters.store.sqlite_file.BUSY_SECONDS", 0.0)
    with pytest.raises(StoreUnavailable, match="locked"):
        await SqliteStore.open(home / "store", ManualClock())
    other.close()
    await (await SqliteStore.open(home / "store", ManualClock())).close()


# The schema


def test_the_head_is_the_newest_revision() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(schema.alembic_config())
    assert script.get_heads() == [schema.HEAD]
    for revision in script.walk_revisions():
        name = Path(revision.path).name
        assert name.startswith((f"{revision.revision}_pre_", f"{revision.revision}_post_")), name


async def open_with_revision(home: Path, statement: str) -> None:
    await (await SqliteStore.open(home / "store", ManualClock())).close()
    with sqlite3.connect(home / "store") as other:
        other.execute(statement)
    other.close()
    await (await SqliteStore.open(home / "store", ManualClock())).close()


async def test_a_newer_schema_is_refused_and_left_alone(home: Path) -> None:
    with pytest.raises(FailedPrecondition, match=rf"newer PyMigrate \(schema 9999, this one knows {schema.HEAD}\)"):
        await open_with_revision(home, "UPDATE alembic_version SET version_num = '9999'")
    other = sqlite3.connect(home / "store")
    assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    other.close()


async def test_a_database_of_something_else_is_refused(home: Path) -> None:
    other = sqlite3.connect(file_in(home))
    other.execute("CREATE TABLE songs (title)")
    other.close()
    with pytest.raises(FailedPrecondition, match=r"something else .*songs"):
        await SqliteStore.open(home / "store", ManualClock())


async def test_an_upgrade_that_fails_halfway_leaves_the_file_as_it_was(home: Path) -> None:
    with pytest.raises(FailedPrecondition, match="something else"):
        await open_with_revision(home, "DROP TABLE alembic_version")
    other = sqlite3.connect(home / "store")
    tables = {name for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    other.close()
    assert "run" in tables
    assert schema.VERSION_TABLE not in tables


def test_alembic_is_not_imported_when_there_is_nothing_to_do(home: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path;"
        "from pymigrate.engine.adapters.clock import SystemClock;"
        "from pymigrate.engine.adapters.store.sqlite import SqliteStore;"
        "store = asyncio.run(SqliteStore.open(Path(sys.argv[1]), SystemClock()));"
        "asyncio.run(store.close());"
        "print('alembic' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program, home / "store"], check=True, capture_output=True, text=True
        ).stdout.split()[-1]
        for _ in range(2)
    ]
    assert said == ["True", "False"]
