"""Roles of a test's PostgreSQL that must give their password: members of the group `by_password`. All others are trusted, as before."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

GROUP = "by_password"
RULE = f"host all +{GROUP} 127.0.0.1/32 scram-sha-256"
PROBE = "by_password_probe"
POLL_SECONDS = 0.02
POLLS_MAX = 500


@contextmanager
def asks_for_passwords(dsn: str) -> Iterator[None]:
    """The cluster asks members of the group for their passwords from now on."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{GROUP}') THEN CREATE ROLE {GROUP}; END IF; END $$".encode()
        )
        connection.execute(f"DROP ROLE IF EXISTS {PROBE}".encode())
        connection.execute(f"CREATE ROLE {PROBE} LOGIN PASSWORD 'probe' IN ROLE {GROUP}".encode())
        found = connection.execute("SELECT pg_read_file(current_setting('hba_file')), current_setting('hba_file')")
        row = found.fetchone()
        assert row is not None
        lines, path = str(row[0]).splitlines(), str(row[1])
        if RULE not in lines:
            text = "\n".join([RULE, *lines]).replace("'", "''")
            connection.execute(f"COPY (SELECT unnest(string_to_array('{text}', E'\\n'))) TO '{path}'".encode())
            connection.execute("SELECT pg_reload_conf()")
    pause = threading.Event()
    for _ in range(POLLS_MAX):
        try:
            psycopg.connect(dsn, user=PROBE, password="another").close()
        except psycopg.OperationalError:
            yield
            return
        pause.wait(POLL_SECONDS)
    raise AssertionError("the cluster takes whatever password")
