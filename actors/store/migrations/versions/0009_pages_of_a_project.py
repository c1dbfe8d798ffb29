"""A document's place in a project carries its time, so that a page of the project is read from one index"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INDEX = "ix_document_projects_project_id_created_at_document_id"
_TIMES = "UPDATE document_projects SET created_at = (SELECT d.created_at FROM documents d WHERE d.id = document_projects.document_id)"


def upgrade() -> None:
    op.add_column("document_projects", sa.Column("created_at", sa.Double(), nullable=False, server_default="0"))
    op.execute(_TIMES)
    where = sa.text("state <> 'indexed'")
    op.create_index(
        "ix_documents_not_indexed", "documents", ["user_id", "created_at", "id"], sqlite_where=where, postgresql_where=where
    )
    op.create_index(op.f(_INDEX), "document_projects", ["project_id", "created_at", "document_id"])


def downgrade() -> None:
    op.drop_index(op.f(_INDEX), "document_projects")
    op.drop_index("ix_documents_not_indexed", "documents")
    op.drop_column("document_projects", "created_at")
