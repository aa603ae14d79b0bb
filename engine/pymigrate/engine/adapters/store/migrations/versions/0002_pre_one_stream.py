"""One stream of what happened and who did what, and how far each of its consumers has come.

Frozen: it names types and values as they were, and takes nothing from the code that goes on changing. What was kept before is copied in
the order of its times; the tables that it came from go with the next revision, when nothing that runs reads them any more.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COPY = """
    INSERT INTO feed_entry
        (xid, time, type, subject, actor, run, sequence, from_state, to_state, failure, version, revision, detail)
    SELECT 0, time, type, subject, actor, run, sequence, from_state, to_state, failure, version, revision, detail
    FROM (
        SELECT e.time, e.type, e.subject, e.actor, e.run, e.sequence, e.from_state, e.to_state, e.failure, 0 AS version,
            r.plan_hash AS revision, '' AS detail, e.sequence AS place
        FROM run_event AS e JOIN run AS r ON r.name = e.run
        UNION ALL
        SELECT a.time, a.action, a.subject, a.actor, NULL, NULL, '', '', NULL, a.version, '', a.detail, a.sequence
        FROM audit AS a
    ) AS kept
    ORDER BY time, place
"""


def upgrade() -> None:
    op.create_table(
        "feed_entry",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("run", NAME, nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_entry")),
        sa.UniqueConstraint("run", "sequence", name=op.f("uq_feed_entry_run_sequence")),
        sa.ForeignKeyConstraint(["run"], ["run.name"], name=op.f("fk_feed_entry_run_run")),
        sqlite_autoincrement=True,
    )
    if op.get_context().dialect.name == "postgresql":
        op.create_index(op.f("ix_feed_entry_xid_id"), "feed_entry", ["xid", "id"])
    op.create_table(
        "feed_consumer",
        sa.Column("name", NAME, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_feed_consumer")),
    )
    op.create_table(
        "feed_claim",
        sa.Column("consumer", NAME, nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "entry", name=op.f("pk_feed_claim")),
        sa.ForeignKeyConstraint(
            ["consumer"], ["feed_consumer.name"], name=op.f("fk_feed_claim_consumer_feed_consumer")
        ),
        sa.ForeignKeyConstraint(["entry"], ["feed_entry.id"], name=op.f("fk_feed_claim_entry_feed_entry")),
    )
    op.create_index(op.f("ix_feed_claim_consumer_until"), "feed_claim", ["consumer", "until"])
    op.create_table(
        "turn",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn")),
    )
    op.execute("INSERT INTO turn (id, taken) VALUES (1, 0)")
    op.execute(COPY)
