"""Where Git sources stand, and their revisions; and what a side declares is found without going through everything.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "git_status",
        sa.Column("uid", NAME, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_git_status")),
    )
    op.create_table(
        "git_revision",
        sa.Column("uid", NAME, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("commit", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid", "number", name=op.f("pk_git_revision")),
    )
    op.create_index(op.f("ix_git_revision_uid_commit_number"), "git_revision", ["uid", "commit", "number"])
    op.create_index(op.f("ix_resource_managed_by_name"), "resource", ["managed_by", "name"])
