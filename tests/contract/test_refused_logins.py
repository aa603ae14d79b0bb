"""What every connector says where a system does not let its user in: CredentialsRefused, with connection, user and the system's words, and
never with the secret."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector
from pymigrate.engine.adapters.connectors.alchemy_logins import is_refused_login as is_refused_by_dialect
from pymigrate.engine.adapters.connectors.http_api import HttpApiConnector
from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.postgres_connection import refuse_login
from pymigrate.engine.adapters.connectors.remote_files import is_refused_login as is_refused_by_filesystem
from pymigrate.engine.domain.errors import CredentialsRefused
from pymigrate.engine.ports.connector import Connector, SystemSpec
from pymigrate.engine.ports.http_format import HttpJsonFormat
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target
from tests.apis import ApiServer, Reply
from tests.servers import BY_PASSWORD, MariadbDatabase, empty_database

RIGHT, WRONG = Secret("correct-horse"), Secret("battery-staple")
NUMBERS = count(1)


@dataclass(frozen=True)
class Guarded:
    """A system that asks for a password, with the right one."""

    connector: Connector
    spec: SystemSpec
    says: str
    has_targets: bool = True


@contextmanager
def guarded_postgres(dsn: str) -> Iterator[SystemSpec]:
    """A role that logs in by its password."""
    found, user = conninfo_to_dict(dsn), f"guarded_{next(NUMBERS)}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (BY_PASSWORD,)).fetchall():
            admin.execute(f"CREATE ROLE {BY_PASSWORD}".encode())
        admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{RIGHT.reveal()}' IN ROLE {BY_PASSWORD}".encode())
    options = {"host": str(found["host"]), "port": str(found["port"]), "database": str(found["dbname"]), "user": user}
    yield SystemSpec("postgres", "crm", options, RIGHT)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"DROP ROLE {user}".encode())


@contextmanager
def guarded_mariadb(database: MariadbDatabase) -> Iterator[SystemSpec]:
    """The same on MariaDB."""
    user = f"guarded_{next(NUMBERS)}"
    database.run(f"CREATE USER '{user}'@'%' IDENTIFIED BY '{RIGHT.reveal()}'")
    database.run(f"GRANT ALL ON {database.name}.* TO '{user}'@'%'")
    yield SystemSpec("mysql", "crm", {**database.options(), "user": user}, RIGHT)
    database.run(f"DROP USER '{user}'@'%'")


def by_url(spec: SystemSpec, driver: str) -> SystemSpec:
    """The same system by SQLAlchemy."""
    options = spec.options
    url = f"{driver}://{options['user']}@{options['host']}:{options['port']}/{options['database']}"
    return SystemSpec("sqlalchemy", "crm", {"url": url}, spec.password)


@pytest.fixture(params=["postgres", "mysql", "postgresql+psycopg", "mysql+pymysql"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    kind = request.param
    with ExitStack() as stack:
        if kind.startswith("postgres"):
            cluster = request.getfixturevalue("postgres_clusters")("machine")
            spec = stack.enter_context(guarded_postgres(stack.enter_context(empty_database(cluster))))
            says = "password authentication failed"
        else:
            spec = stack.enter_context(guarded_mariadb(request.getfixturevalue("mariadb_database")))
            says = "Access denied for user"
        if "+" in kind:
            yield Guarded(SqlalchemyConnector(), by_url(spec, kind), says, has_targets=kind.startswith("postgres"))
        else:
            yield Guarded(PostgresConnector() if kind == "postgres" else MysqlConnector(), spec, says)


def test_a_refused_login_is_told_from_a_system_that_is_away(guarded: Guarded) -> None:
    opening: list[Callable[[SystemSpec], Source | Target]] = [
        guarded.connector.open_source,
        *([guarded.connector.open_target] if guarded.has_targets else []),
    ]
    for opened in opening:
        with closing(opened(guarded.spec)) as system:
            assert system.version()
        with pytest.raises(CredentialsRefused) as refused:
            opened(replace(guarded.spec, password=WRONG))
        told = refused.value.message
        assert "connection `crm`" in told
        assert guarded.says in told
        assert refused.value.is_temporary
        shown = "".join(traceback.format_exception(refused.value))
        assert WRONG.reveal() not in shown


def test_a_user_that_is_not_there_is_a_refused_login(guarded: Guarded) -> None:
    if guarded.spec.kind == "sqlalchemy":
        spec = replace(guarded.spec, options={"url": guarded.spec.options["url"].replace("guarded_", "nobody_")})
    else:
        spec = replace(guarded.spec, options={**guarded.spec.options, "user": "nobody"})
    with pytest.raises(CredentialsRefused):
        guarded.connector.open_source(spec)


@pytest.mark.parametrize("status", [401, 407])
def test_an_api_that_takes_no_header_refuses_the_login(api: ApiServer, status: int) -> None:
    api.replies(Reply(b"unknown token battery-staple", status=status))
    system = SystemSpec("http", "crm", {"base_url": api.url}, secrets={"header.Authorization": WRONG})
    relation = SourceRelation("items", format=HttpJsonFormat())
    with closing(HttpApiConnector().open_source(system)) as source, pytest.raises(CredentialsRefused) as refused:
        source.describe(relation)
    assert refused.value.field == "source.connection"
    assert f"answered {status}: unknown token ***" in refused.value.message
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("user", "database", "said", "is_refused"),
    [
        ("ann", "crm", 'FATAL:  Passwort-Authentifizierung für Benutzer »ann« fehlgeschlagen', True),
        ("ann", "crm", 'FATAL:  Datenbank »crm« existiert nicht', False),
        ("crm", "crm", 'FATAL:  Datenbank »crm« existiert nicht', False),
        ("ann", "crm", 'FATAL:  role "ann" is not permitted to log in', True),
        ("ann", "crm", 'FATAL:  too many connections for role "ann"', False),
        ("ann", "crm", "FATAL:  no pg_hba.conf entry for host", True),
        ("ann", "crm", "fe_sendauth: no password supplied", True),
    ],
)  # fmt: skip
def test_postgresql_is_understood_in_other_languages(user: str, database: str, said: str, is_refused: bool) -> None:
    session: Any = SimpleNamespace(used_password=True)
    spec = SystemSpec("postgres", "crm", {"user": user, "database": database})
    try:
        refuse_login(spec, session, said)
    except CredentialsRefused:
        assert is_refused
    else:
        assert not is_refused


@pytest.mark.parametrize(
    ("dialect", "error", "is_refused"),
    [
        ("mssql", Exception("28000", "[28000] Login failed for user 'ann'. (18456)"), True),
        ("mssql", Exception(18456, b"Login failed"), True),
        ("oracle", Exception(SimpleNamespace(code=1017, message="invalid username/password")), True),
        ("postgresql", Exception({"C": "28P01", "M": "password authentication failed"}), True),
        ("postgresql", Exception({"C": "57P03", "M": "the database system is starting up"}), False),
        ("mysql", Exception(2003, "can't connect"), False),
        ("sqlite", Exception("unable to open database file"), False),
    ],
)
def test_each_dialects_codes_are_known(dialect: str, error: Exception, is_refused: bool) -> None:
    assert is_refused_by_dialect(dialect, error) is is_refused


class ClientError(Exception):
    """As botocore raises it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class AuthenticationException(Exception):
    """As paramiko raises it."""


@pytest.mark.parametrize(
    ("cause", "is_refused"),
    [
        (ClientError("InvalidAccessKeyId"), True),
        (ClientError("ExpiredToken"), True),
        (ClientError("AccessDenied"), False),
        (AuthenticationException("no"), True),
        (ConnectionRefusedError("away"), False),
    ],
)
def test_a_filesystems_refusal_is_found_beneath_what_was_made_of_it(cause: Exception, is_refused: bool) -> None:
    error = PermissionError("Access Denied")
    error.__cause__ = cause
    assert is_refused_by_filesystem(error) is is_refused
