"""Passwords of files are in no row any more (docs/adr/0006)"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("jobs", "password")


def downgrade() -> None:
    op.add_column("jobs", sa.Column("password", sa.String()))
