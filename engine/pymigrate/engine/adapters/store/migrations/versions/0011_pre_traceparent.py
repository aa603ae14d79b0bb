"""A run says which call started it, so that its spans have their parent whichever engine tells them.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("traceparent", sa.Text(), nullable=False, server_default=""))
