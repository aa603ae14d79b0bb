"""A phase may be online, and a dataset of it behind its source; hosts keep changes and catch up on them.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KINDS = ("capture", "copy", "catch_up", "verify", "prepare", "publish", "step", "rollback", "undo", "seal")


def upgrade() -> None:
    for name in ("is_online", "is_caught_up"):
        op.add_column("phase_run", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    for name, kind, default in (
        ("lag_seconds", sa.Double(), "-1"),
        ("lag_seconds_max", sa.Double(), "0"),
        ("changes", sa.BigInteger(), "0"),
        ("fence", sa.BigInteger(), "0"),
    ):
        op.add_column("dataset_run", sa.Column(name, kind, nullable=False, server_default=default))
    listed = ", ".join(f"'{kind}'" for kind in KINDS)
    with op.batch_alter_table("task") as task:  # SQLite changes no constraint: there the table is written anew
        task.drop_constraint(op.f("ck_task_taskkind"), type_="check")
        task.create_check_constraint(op.f("ck_task_taskkind"), sa.text(f"kind IN ({listed})"))
