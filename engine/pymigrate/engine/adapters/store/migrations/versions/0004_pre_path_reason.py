"""A dataset within a run says why it moves as it does.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset_run", sa.Column("path_reason", sa.Text(), nullable=False, server_default=""))
