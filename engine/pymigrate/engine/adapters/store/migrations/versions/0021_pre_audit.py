"""Entries of the stream are links of chains, whose heads are sealed; the database itself refuses to change them, or to take away what no
base covers. What was written before has no link: bases say how much that is.

Frozen, as every revision. A later one that writes to all entries has to take the trigger away first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TEXTS = ("origin", "method", "request_id", "trace_id", "before_digest", "after_digest", "outcome")
# All but `xid`, which is dated back where a dump is restored.
HELD = (
    "id, time, type, subject, actor, run, sequence, from_state, to_state, failure, version, revision, detail, origin, method, request_id, "
    "trace_id, before_digest, after_digest, outcome, chain, place, hash"
)
IS_COVERED = (
    "EXISTS (SELECT 1 FROM audit_base WHERE audit_base.chain = coalesce(OLD.chain, OLD.run, '')"
    " AND audit_base.place >= coalesce(OLD.place, OLD.sequence, 0))"
)
REFUSAL = "the audit trail is only added to: nothing in feed_entry is changed or taken away"
RUN_BASES = """
    INSERT INTO audit_base (chain, place, hash)
    SELECT run, max(sequence), :nothing FROM feed_entry WHERE run IS NOT NULL GROUP BY run
"""
COUNT_BASE = (
    "INSERT INTO audit_base (chain, place, hash) SELECT '', count(*), :nothing FROM feed_entry HAVING count(*) > 0"
)
ON_POSTGRES = (
    f"""
    CREATE FUNCTION feed_entry_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND {IS_COVERED} THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    f"""
    CREATE TRIGGER feed_entry_kept BEFORE DELETE OR UPDATE OF {HELD} ON feed_entry
    FOR EACH ROW EXECUTE FUNCTION feed_entry_kept()
    """,
    "CREATE TRIGGER feed_entry_whole BEFORE TRUNCATE ON feed_entry EXECUTE FUNCTION feed_entry_kept()",
)
ON_SQLITE = (
    f"CREATE TRIGGER feed_entry_kept BEFORE DELETE ON feed_entry WHEN NOT {IS_COVERED} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    f"CREATE TRIGGER feed_entry_whole BEFORE UPDATE OF {HELD} ON feed_entry BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
)


def upgrade() -> None:
    for name in TEXTS:
        op.add_column("feed_entry", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("feed_entry", sa.Column("chain", NAME, nullable=True))
    op.add_column("feed_entry", sa.Column("place", sa.BigInteger(), nullable=True))
    op.add_column("feed_entry", sa.Column("hash", sa.LargeBinary(), nullable=True))
    is_linked, is_no_step = sa.text("chain IS NOT NULL"), sa.text("run IS NULL")
    op.create_index(
        op.f("ix_feed_entry_chain_place"),
        "feed_entry",
        ["chain", "place"],
        unique=True,
        sqlite_where=is_linked,
        postgresql_where=is_linked,
    )
    op.create_index(
        op.f("ix_feed_entry_subject_id"),
        "feed_entry",
        ["subject", "id"],
        sqlite_where=is_no_step,
        postgresql_where=is_no_step,
    )
    op.create_table(
        "audit_seal",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("head_count", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_seal")),
    )
    op.create_table(
        "audit_seal_head",
        sa.Column("seal", sa.BigInteger(), nullable=False),
        sa.Column("is_base", sa.Boolean(), nullable=False),
        sa.Column("chain", NAME, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seal", "is_base", "chain", name=op.f("pk_audit_seal_head")),
        sa.ForeignKeyConstraint(["seal"], ["audit_seal.number"], name=op.f("fk_audit_seal_head_seal_audit_seal")),
    )
    op.create_table(
        "audit_base",
        sa.Column("chain", NAME, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_base")),
    )
    for statement in (RUN_BASES, COUNT_BASE):
        op.get_bind().execute(sa.text(statement), {"nothing": bytes(32)})
    for statement in ON_POSTGRES if op.get_context().dialect.name == "postgresql" else ON_SQLITE:
        op.execute(statement)
