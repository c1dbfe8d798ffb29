"""Messages follow one another in branches: what there is becomes one line, with replaced answers beside those that are shown"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The question of an answer, else the message that was shown before this one.
_PARENTS = """
UPDATE messages SET parent_id = COALESCE(
    (SELECT r.question_id FROM runs r WHERE r.message_id = messages.id),
    (SELECT b.id FROM messages b WHERE b.conversation_id = messages.conversation_id AND NOT b.superseded
        AND b.position < messages.position ORDER BY b.position DESC LIMIT 1))
"""
_LEAVES = """
UPDATE conversations SET leaf_id = (SELECT m.id FROM messages m WHERE m.conversation_id = conversations.id
    AND NOT m.superseded ORDER BY m.position DESC LIMIT 1)
"""
_SHOWN = """
WITH RECURSIVE line(id, parent_id) AS (
    SELECT m.id, m.parent_id FROM messages m JOIN conversations c ON c.leaf_id = m.id
    UNION ALL SELECT m.id, m.parent_id FROM messages m JOIN line ON m.id = line.parent_id)
UPDATE messages SET superseded = false WHERE id IN (SELECT id FROM line)
"""


def upgrade() -> None:
    op.add_column("messages", sa.Column("parent_id", sa.String()))
    op.add_column("conversations", sa.Column("leaf_id", sa.String()))
    op.execute(_PARENTS)
    op.execute(_LEAVES)
    op.drop_column("messages", "superseded")


def downgrade() -> None:
    """The branch that is shown stays so; the others are kept as what was replaced."""
    op.add_column("messages", sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.execute(_SHOWN)
    op.drop_column("conversations", "leaf_id")
    op.drop_column("messages", "parent_id")
