"""Digests of plans and runs: the same in every process and version, whatever cosmetics change, and another for anything that moves data."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from pymigrate.engine.application.revisions import opened_now, phase_hash, plan_hash, run_key
from pymigrate.v1 import connection_pb2, plan_pb2
from tests.unit.application.engines import phase, systems

# Written down once: a run that was started by an earlier version must be adopted by every later one.
PLAN_DIGEST = "55e6533004cb0a60047f2b315ffb8c7d8d10bfb38d7149954cea2599c256d3eb"
RUN_DIGEST = "9e82843cda829ac59824030267b23628fd50ec42f981519db07d118edc38f850"
PROGRAM = """
from tests.unit.application.test_revisions import sample
print(*sample())
"""


def sample() -> tuple[str, str]:
    """Digests of a plan with maps, lists and 64-bit numbers, and of a run with triggers."""
    first = phase("orders", "items")
    first.datasets["orders"].chunk_bytes = 2**40
    first.datasets["orders"].key.extend(["b", "a"])
    first.datasets["orders"].source.columns["when"].type = "timestamptz"
    first.datasets["orders"].source.columns["amount"].type = "decimal(12,2)"
    digest = plan_hash({"a": first, "b": phase("x", needs=["a"])}, systems())
    return digest, run_key("environments/e/plans/p", digest, {"day": "1", "a": "ä"})


def test_a_digest_is_the_same_in_every_version_and_process() -> None:
    assert sample() == (PLAN_DIGEST, RUN_DIGEST)
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert tuple(done.stdout.split()) == sample()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.labels.update({"a": "b"}),
        lambda p: setattr(p, "display_name", "called so"),
        lambda p: setattr(p, "priority", 7),
        lambda p: setattr(p, "uid", "u"),
        lambda p: setattr(p, "etag", "e"),
        lambda p: setattr(p, "managed_by", "git"),
        lambda p: p.create_time.FromSeconds(7),
        lambda p: p.dependencies.reverse(),
        lambda p: setattr(p.datasets["orders"].declared, "rows", 7),
    ],
)
def test_cosmetics_make_no_other_revision(change: Callable[[plan_pb2.Phase], object]) -> None:
    changed = phase("orders", needs=["x", "y"])
    change(changed)
    assert phase_hash(changed, systems()) == phase_hash(phase("orders", needs=["x", "y"]), systems())


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.dependencies.append("z"),
        lambda p: setattr(p.datasets["orders"].source, "relation", "x"),
        lambda p: setattr(p.datasets["orders"].target, "relation", "x"),
        lambda p: setattr(p.datasets["orders"], "chunk_bytes", 100_000),
        lambda p: p.datasets["orders"].key.append("id"),
        lambda p: setattr(p.datasets["orders"], "verification", plan_pb2.VERIFICATION_LEVEL_FULL),
        lambda p: setattr(p, "department", "hr"),
    ],
)
def test_what_moves_data_otherwise_is_another_revision(change: Callable[[plan_pb2.Phase], object]) -> None:
    changed = phase("orders")
    change(changed)
    assert phase_hash(changed, systems()) != phase_hash(phase("orders"), systems())


def test_where_a_connection_leads_counts_and_how_it_is_opened_does_not() -> None:
    found = phase("orders")
    known = systems()
    known["legacy"].postgres.host, known["legacy"].postgres.password = "h", "env://OLD"
    rotated = systems()
    rotated["legacy"].postgres.host, rotated["legacy"].postgres.password = "h", "env://NEW"
    moved = systems()
    moved["legacy"].postgres.host, moved["legacy"].postgres.password = "elsewhere", "env://OLD"
    assert phase_hash(found, rotated) == phase_hash(found, known) != phase_hash(found, moved)


def test_a_rotated_password_of_any_system_is_the_same_revision() -> None:
    found = phase("orders")
    known, rotated = systems(), systems()
    known["legacy"].mysql.host, known["legacy"].mysql.password = "h", "env://OLD"
    rotated["legacy"].mysql.host, rotated["legacy"].mysql.password = "h", "env://NEW"
    assert phase_hash(found, rotated) == phase_hash(found, known)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host="h", ssl_mode="require")),
            connection_pb2.Connection(postgres=connection_pb2.PostgresSystem(host="h")),
        ),
        (
            connection_pb2.Connection(
                http=connection_pb2.HttpApiSystem(base_url="https://a", headers={"Authorization": "env://OLD"})
            ),
            connection_pb2.Connection(
                http=connection_pb2.HttpApiSystem(
                    base_url="https://a",
                    headers={"X-Api-Key": "file:///new#key"},
                    timeout_seconds=9,
                    retries_max=1,
                    requests_per_second_max=2.5,
                    ca_file="/ca.pem",
                )
            ),
        ),
        (
            connection_pb2.Connection(
                files=connection_pb2.FilesSystem(root="s3://a", options={"key": "env://OLD", "anon": "false"})
            ),
            connection_pb2.Connection(
                files=connection_pb2.FilesSystem(root="s3://a", options={"key": "env://NEW", "anon": "false"})
            ),
        ),
    ],
    ids=["ssl", "http", "files"],
)
def test_what_opens_a_system_and_how_it_is_spoken_to_make_no_other_revision(
    one: connection_pb2.Connection, other: connection_pb2.Connection
) -> None:
    warehouse = systems()["warehouse"]
    digests = {phase_hash(phase("orders"), {"legacy": each, "warehouse": warehouse}) for each in (one, other)}
    assert len(digests) == 1
    assert opened_now(one, other) == other
    assert opened_now(one, one) is one


def test_options_that_are_no_references_count() -> None:
    one, other = (
        connection_pb2.Connection(files=connection_pb2.FilesSystem(root="s3://a", options={"region": region}))
        for region in ("eu", "us")
    )
    assert phase_hash(phase("orders"), {"legacy": one}) != phase_hash(phase("orders"), {"legacy": other})
    assert opened_now(one, other) is one  # another system: a run stays with the one that it froze


def test_what_is_opened_otherwise_keeps_everything_else_as_it_was_frozen() -> None:
    frozen = connection_pb2.Connection(mysql=connection_pb2.MysqlSystem(host="h", password="env://OLD"), lanes_max=3)
    declared = connection_pb2.Connection(mysql=connection_pb2.MysqlSystem(host="h", password="env://NEW"), lanes_max=9)
    found = opened_now(frozen, declared)
    assert (found.mysql.password, found.lanes_max) == ("env://NEW", 3)


def test_a_connection_that_a_phase_does_not_use_does_not_count() -> None:
    known = systems()
    known["other"] = systems()["legacy"]
    assert phase_hash(phase("orders"), known) == phase_hash(phase("orders"), systems())


def test_triggers_tell_runs_apart() -> None:
    assert run_key("p", "h", {"a": "1"}) != run_key("p", "h", {"a": "2"}) != run_key("p", "h", {})
    assert run_key("p", "h", {"a": "1", "b": "2"}) == run_key("p", "h", {"b": "2", "a": "1"})
