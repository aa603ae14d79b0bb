"""A dataset within a run says what its target guarantees about its rows."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset_run", sa.Column("delivery", sa.Text(), nullable=False, server_default=""))
