"""A lane keeps which versions of secrets its host uses, and a task which of its tries waited for a system or a secret to come back.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lane", sa.Column("secret_versions", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("task", sa.Column("waits", sa.BigInteger(), nullable=False, server_default="0"))
