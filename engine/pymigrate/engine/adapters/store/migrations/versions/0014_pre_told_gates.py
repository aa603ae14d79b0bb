"""A phase keeps which of its gates were told to hold it up. Of what waits already none was, so that the next engine tells it.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("phase_run", sa.Column("told_gates", sa.Text(), nullable=False, server_default="[]"))
