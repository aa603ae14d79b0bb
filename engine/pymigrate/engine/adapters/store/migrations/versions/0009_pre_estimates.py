"""What is measured of datasets, what is estimated for runs, and how far it lay off; a dataset within a run says how long it was verified
and published.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for name in ("verify_seconds", "publish_seconds"):
        op.add_column("dataset_run", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    op.create_table(
        "measure",
        sa.Column("plan", NAME, nullable=False),
        sa.Column("place", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("plan", "place", name=op.f("pk_measure")),
    )
    op.create_table(
        "run_estimate",
        sa.Column("run", NAME, nullable=False),
        sa.Column("plan", NAME, nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_run_estimate")),
    )
    op.create_index(op.f("ix_run_estimate_plan_create_time_run"), "run_estimate", ["plan", "create_time", "run"])
    op.create_table(
        "sample",
        sa.Column("environment", NAME, nullable=False),
        sa.Column("run", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("place", NAME, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in (
                "estimated_p50_seconds",
                "estimated_p90_seconds",
                "uncalibrated_seconds",
                "actual_seconds",
            )
        ),
        sa.PrimaryKeyConstraint("environment", "run", "key", "place", name=op.f("pk_sample")),
    )
    op.create_index(op.f("ix_sample_environment_key_time"), "sample", ["environment", "key", "time"])
