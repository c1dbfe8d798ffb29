"""Why a file was refused, for programs; the document of a long line that is stored in part"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("documents", "jobs"):
        op.add_column(table, sa.Column("code", sa.String()))
        op.add_column(table, sa.Column("details", sa.Text()))
        op.execute(f"UPDATE {table} SET code = 'cancelled' WHERE reason = 'cancelled'")  # noqa: S608
    op.add_column("jobs", sa.Column("open_document_id", sa.String()))
    held = sa.text("open_document_id IS NOT NULL")
    op.create_index(op.f("ix_jobs_open_document_id"), "jobs", ["open_document_id"], sqlite_where=held, postgresql_where=held)
    # Documents of long lines that a job left half stored, when no job is open that might go on with them.
    open_lines = "SELECT 1 FROM jobs WHERE jobs.kind = 'jsonl' AND jobs.state IN ('queued', 'running')"
    half = f"state = 'indexing' AND blob_hash IS NULL AND NOT EXISTS ({open_lines})"
    op.execute(f"UPDATE documents SET state = 'failed', reason = 'cancelled', code = 'cancelled' WHERE {half}")  # noqa: S608


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_open_document_id"), "jobs")
    op.drop_column("jobs", "open_document_id")
    for table in ("documents", "jobs"):
        op.drop_column(table, "details")
        op.drop_column(table, "code")
