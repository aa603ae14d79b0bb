"""An object keeps beside what was declared what it is with the values of parameters. Of what is there already nothing has any.

Frozen, as every revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "resource",
        sa.Column(
            "resolved", sa.LargeBinary(), nullable=False, server_default=sa.text(_EMPTY[op.get_bind().dialect.name])
        ),
    )


_EMPTY = {"sqlite": "x''", "postgresql": "''::bytea"}
