"""What runs a worker host, where that is not a process of the engine's machine. Of what is there already nothing is run otherwise.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("host", sa.Column("workload", sa.Text(), nullable=False, server_default=""))
