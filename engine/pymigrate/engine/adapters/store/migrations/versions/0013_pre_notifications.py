"""What is kept of notifications: deliveries with all their tries, incidents that escalate, conditions that hold; and a turn for whoever
makes deliveries.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
STATES = (
    "waiting",
    "pending",
    "sending",
    "accepted",
    "delivered",
    "acknowledged",
    "dead",
    "undeliverable",
    "suppressed",
)


def upgrade() -> None:
    _create_deliveries()
    _index_deliveries()
    _create_incidents()
    op.create_table(
        "condition",
        *_names("environment", "rule", "subject"),
        *_counts("since"),
        *_counts("told_time", nullable=True),
        *_counts("version"),
        sa.PrimaryKeyConstraint("environment", "rule", "subject", name=op.f("pk_condition")),
    )
    op.execute("INSERT INTO turn (id, taken) VALUES (2, 0)")


def _create_deliveries() -> None:
    states = ", ".join(f"'{state}'" for state in STATES)
    op.create_table(
        "delivery",
        *_names("name", "environment"),
        sa.Column("state", sa.String(32), nullable=False),
        *_names("rule", "stakeholder", "address", "channel"),
        *_texts("to"),
        *_names("thread", "key"),
        *_counts("severity", "create_time", "due_time", "entry_count", "duplicates"),
        *_names("run"),
        *_texts("template", "template_role"),
        *_names("incident"),
        *_counts("escalation"),
        *_switches("needs_acknowledgement"),
        *_counts("try_count"),
        *_texts("lease"),
        *_counts("lease_until", nullable=True),
        *_texts("dispatcher"),
        *_counts("next_try_time", "last_try_time", "frozen_time", nullable=True),
        *_counts("accept_time", "deliver_time", "acknowledge_time", nullable=True),
        *_texts("acknowledger"),
        sa.Column("failure", sa.Text(), nullable=True),
        *_switches("may_be_repeated"),
        *_counts("confirm_by_time", nullable=True),
        *_texts("confirm_state"),
        *_counts("version"),
        *_counts("try_time", "overdue_time", nullable=True),
        *_switches("is_overdue_told"),
        *_texts("content_template"),
        *_counts("content_template_version"),
        *_texts("content_digest", "content_subject", "entries", "tries", "content_body", "content_html"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_delivery")),
        sa.UniqueConstraint("key", name=op.f("uq_delivery_key")),
        sa.CheckConstraint(f"state IN ({states})", name=op.f("ck_delivery_deliverystate")),
    )


def _index_deliveries() -> None:
    _index("delivery", "severity", "due_time", "name", where="state = 'waiting'")
    _index("delivery", "environment", "rule", "stakeholder", where="state = 'waiting'")
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "ix_delivery_waiting_thread",
        "delivery",
        ["thread", "create_time", "name"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    is_tried = "try_time IS NOT NULL"
    _index("delivery", "environment", "channel", "state", "severity", "try_time", "name", where=is_tried)
    _index("delivery", "try_time", where=is_tried)
    _index("delivery", "environment", "channel", "last_try_time", where="last_try_time IS NOT NULL")
    _index("delivery", "environment", "rule", "frozen_time", where="frozen_time IS NOT NULL")
    _index("delivery", "overdue_time", "name", where="overdue_time IS NOT NULL AND NOT is_overdue_told")
    _index("delivery", "incident", "create_time", "name", where="incident <> ''")
    _index("delivery", "create_time", "name", where="state NOT IN ('waiting', 'pending', 'sending')")
    _index("delivery", "thread", "create_time", "name")
    _index("delivery", "environment", "create_time", "name")
    _index("delivery", "environment", "stakeholder", "create_time", "name")
    _index("delivery", "environment", "rule", "create_time", "name")
    _index("delivery", "environment", "state", "create_time", "name")
    _index("delivery", "run", "create_time", "name")
    _index("delivery", "environment", "due_time")


def _create_incidents() -> None:
    op.create_table(
        "incident",
        *_names("id", "environment", "rule", "thread"),
        *_counts("open_time"),
        *_texts("entries"),
        *_counts("step"),
        *_counts("next_time", "acknowledge_time", nullable=True),
        *_texts("acknowledger"),
        *_counts("version"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    is_open = "next_time IS NOT NULL"
    _index("incident", "next_time", "id", where=is_open)
    _index("incident", "thread", "open_time", "id", where=is_open)
    _index("incident", "open_time", "id", where="next_time IS NULL")


def _index(table: str, *columns: str, where: str = "") -> None:
    name = op.f("_".join(("ix", table, *columns)))
    condition = sa.text(where) if where else None
    op.create_index(name, table, [*columns], sqlite_where=condition, postgresql_where=condition)


def _names(*columns: str) -> list[sa.Column[str]]:
    return [sa.Column(column, NAME, nullable=False) for column in columns]


def _texts(*columns: str) -> list[sa.Column[str]]:
    return [sa.Column(column, sa.Text(), nullable=False) for column in columns]


def _counts(*columns: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(column, sa.BigInteger(), nullable=nullable) for column in columns]


def _switches(*columns: str) -> list[sa.Column[bool]]:
    return [sa.Column(column, sa.Boolean(), nullable=False) for column in columns]
