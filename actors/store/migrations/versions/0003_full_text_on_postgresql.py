"""Full text on PostgreSQL: a row for each term of each passage. SQLite has its own since 0001."""

import sqlalchemy as sa
from alembic import op

from actors.store.postings import remember
from actors.store.terms import passage_terms

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

AT_ONCE = 500  # passages


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_table(
        "chunk_terms",
        sa.Column("term", sa.Text(collation="C"), nullable=False),
        sa.Column("chunk_id", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.REAL(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("term", "chunk_id", name=op.f("pk_chunk_terms"), postgresql_include=["weight", "length"]),
    )
    op.create_index(op.f("ix_chunk_terms_chunk_id"), "chunk_terms", ["chunk_id"])
    op.create_table(
        "chunk_terms_total",
        sa.Column("passages", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO chunk_terms_total VALUES (0, 0)")
    _fill()


def _fill() -> None:
    """Terms of the passages that are there."""
    bind = op.get_bind()
    found = sa.text(
        "SELECT c.id, d.title, c.text, coalesce(c.language, d.language) AS language FROM chunks c "
        "JOIN documents d ON d.id = c.document_id WHERE c.id > :after ORDER BY c.id LIMIT :limit"
    )
    after = 0
    while rows := bind.execute(found, {"after": after, "limit": AT_ONCE}).all():
        remember(
            bind, [(row.id, passage_terms(row.title, row.language), passage_terms(row.text, row.language)) for row in rows]
        )
        after = rows[-1].id


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.drop_table("chunk_terms_total")
    op.drop_table("chunk_terms")
