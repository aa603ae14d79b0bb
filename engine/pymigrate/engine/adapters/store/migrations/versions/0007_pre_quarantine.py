"""A lane counts the rows that it put into quarantine.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lane", sa.Column("quarantined_rows", sa.BigInteger(), nullable=False, server_default="0"))
