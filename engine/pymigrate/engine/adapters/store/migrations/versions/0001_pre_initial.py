"""The first schema: declared objects, runs with their parts and events, hosts, kept answers, audit trail.

Frozen: it names types and values as they were, and takes nothing from the code that goes on changing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
RUN_STATES = (
    "pending",
    "running",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
    "rolling_back",
    "rolled_back",
    "rollback_blocked",
)
DESIRED_STATES = ("running", "paused", "cancelled")
PHASE_STATES = (
    "pending",
    "ready",
    "staging",
    "verifying",
    "publishing",
    "published",
    "sealed",
    "failed",
    "skipped",
    "rolling_back",
    "rolled_back",
    "rollback_blocked",
)
LANE_STATES = ("pending", "running", "done", "stalled", "failed", "conflict")
TASK_KINDS = ("copy", "verify", "prepare", "publish", "step", "rollback", "undo", "seal")
TASK_STATES = ("pending", "leased", "done", "failed", "dropped")


def upgrade() -> None:
    _create_declared()
    _create_runs()
    _create_parts()
    _create_work()


def _create_declared() -> None:
    op.create_table(
        "resource",
        *_names("name", "kind", "parent", "uid"),
        *_counts("version"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_counts("create_time", "update_time"),
        *_texts("managed_by"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_resource")),
        sa.UniqueConstraint("uid", name=op.f("uq_resource_uid")),
    )
    op.create_index(op.f("ix_resource_parent_kind_name"), "resource", ["parent", "kind", "name"])
    op.create_table(
        "host",
        *_names("name"),
        *_texts("affinity"),
        *_counts("pid", "pid_start_ticks"),
        *_texts("session"),
        *_counts("heartbeat_time"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host")),
    )
    op.create_table(
        "request",
        *_names("method", "request_id"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        *_counts("time"),
        sa.PrimaryKeyConstraint("method", "request_id", name=op.f("pk_request")),
    )
    op.create_index(op.f("ix_request_time"), "request", ["time"])
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *_counts("time"),
        *_texts("actor", "action", "subject"),
        *_counts("version"),
        *_texts("detail"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )


def _create_runs() -> None:
    op.create_table(
        "run",
        *_names("name", "plan", "key"),
        *_texts("plan_hash"),
        *_counts("create_time"),
        *_texts("managed_by", "triggers"),
        *_counts("lanes_max", "attempt"),
        _choice("state"),
        _choice("desired"),
        *_texts("failure", nullable=True),
        *_counts("end_time", "update_time", nullable=True),
        *_counts("events"),
        *_texts("waiting_for"),
        sa.Column("is_rollback_asked", sa.Boolean(), nullable=False),
        *_counts("rollback_window_seconds"),
        *_counts("seal_time", nullable=True),
        *_counts("version"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_run")),
        sa.UniqueConstraint("plan", "key", name=op.f("uq_run_plan_key")),
        _one_of("run", "state", "runstate", RUN_STATES),
        _one_of("run", "desired", "desiredstate", DESIRED_STATES),
    )
    op.create_index(op.f("ix_run_plan_create_time_name"), "run", ["plan", "create_time", "name"])
    op.create_index(op.f("ix_run_seal_time"), "run", ["seal_time"])
    op.create_table(
        "run_revision",
        *_names("run"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_key_in_run("run_revision"),
    )
    op.create_table(
        "run_event",
        *_names("run"),
        *_counts("sequence", "time"),
        *_texts("type", "subject", "from_state", "to_state", "actor"),
        *_texts("failure", nullable=True),
        *_key_in_run("run_event", "sequence"),
    )


def _create_parts() -> None:
    op.create_table(
        "phase_run",
        *_names("run", "id"),
        *_texts("department", "dependencies"),
        *_counts("priority"),
        _choice("state"),
        *_counts("attempt"),
        *_texts("failure", nullable=True),
        *_counts("start_time", "end_time", nullable=True),
        *_texts("gates", "approvals", "steps", "final_steps"),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        *_counts("version"),
        *_key_in_run("phase_run", "id"),
        _one_of("phase_run", "state", "phasestate", PHASE_STATES),
    )
    op.create_table(
        "dataset_run",
        *_names("run", "phase", "id"),
        *_texts("source_connection", "source_relation", "target_connection", "target_relation", "affinity"),
        *_counts("rows_expected"),
        *_texts("path"),
        sa.Column("verification", sa.LargeBinary(), nullable=False),
        *_counts("start_time", "end_time", nullable=True),
        sa.Column("copy_seconds", sa.Double(), nullable=False),
        *_texts("ranges"),
        *_texts("quarantine", nullable=True),
        *_counts("conflicts", "version"),
        *_key_in_run("dataset_run", "phase", "id"),
    )


def _create_work() -> None:
    op.create_table(
        "lane",
        *_names("run", "id"),
        *_texts("phase", "dataset"),
        *_counts("attempt", "rows_expected"),
        _choice("state"),
        *_counts("fence", "chunks", "rows", "bytes"),
        *_texts("host"),
        *_texts("failure", nullable=True),
        *_counts("retries"),
        *_counts("start_time", "end_time", nullable=True),
        *_counts("part", "version"),
        *_key_in_run("lane", "id"),
        _one_of("lane", "state", "lanestate", LANE_STATES),
    )
    op.create_table(
        "task",
        *_names("run", "id"),
        _choice("kind"),
        *_texts("phase"),
        *_counts("attempt"),
        *_texts("datasets", "target", "affinity", "lane"),
        _choice("state"),
        *_counts("fence"),
        *_texts("host"),
        *_counts("lease_expires", "leased_time", "not_before", nullable=True),
        *_counts("retries"),
        *_texts("failure", nullable=True),
        *_counts("failing_since", nullable=True),
        *_texts("detail"),
        sa.Column("is_prepared", sa.Boolean(), nullable=False),
        *_counts("version"),
        *_key_in_run("task", "id"),
        _one_of("task", "kind", "taskkind", TASK_KINDS),
        _one_of("task", "state", "taskstate", TASK_STATES),
    )


def _names(*columns: str) -> list[sa.Column[str]]:
    return [sa.Column(column, NAME, nullable=False) for column in columns]


def _texts(*columns: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(column, sa.Text(), nullable=nullable) for column in columns]


def _counts(*columns: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(column, sa.BigInteger(), nullable=nullable) for column in columns]


def _choice(column: str) -> sa.Column[str]:
    return sa.Column(column, sa.String(32), nullable=False)


def _one_of(table: str, column: str, name: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{name}"))


def _key_in_run(table: str, *keys: str) -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("run", *keys, name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(["run"], ["run.name"], name=op.f(f"fk_{table}_run_run")),
    ]
