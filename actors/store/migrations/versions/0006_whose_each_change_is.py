"""The feed says whose each change is, so that its owner can be told of it, of what is deleted too"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OWNED = {"project": "projects", "document": "documents", "job": "jobs", "conversation": "conversations", "run": "runs"}
_OF_ROWS = "UPDATE changes SET user_id = (SELECT t.user_id FROM {table} t WHERE t.id = changes.id) WHERE entity = '{entity}'"
_OF_MESSAGES = (
    "UPDATE changes SET user_id = (SELECT c.user_id FROM messages m JOIN conversations c ON c.id = m.conversation_id "
    "WHERE m.id = changes.id) WHERE entity = 'message'"
)


def upgrade() -> None:
    """What is gone by now stays nobody's: nobody followed the feed then."""
    op.add_column("changes", sa.Column("user_id", sa.String()))
    for entity, table in _OWNED.items():
        op.execute(_OF_ROWS.format(table=table, entity=entity))
    op.execute(_OF_MESSAGES)


def downgrade() -> None:
    op.drop_column("changes", "user_id")
