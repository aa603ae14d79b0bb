"""The tables that the stream took the place of are gone.

Frozen, as every revision.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("run_event")
    op.drop_table("audit")
