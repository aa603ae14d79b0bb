"""A dataset within a run tells what of the source's declarations its target was not given."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset_run", sa.Column("schema_notes", sa.Text(), nullable=False, server_default="[]"))
