"""Full text on SQLite keeps its terms, so that what is deleted leaves FTS5's totals too. PostgreSQL has its own since 0003."""

import sqlalchemy as sa
from alembic import context, op

from actors.store.fts5 import remember
from actors.store.terms import passage_terms

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

AT_ONCE = 500  # passages
TOLD = 20  # times on the way
_FOUND = sa.text(
    "SELECT c.id, d.title, c.text, coalesce(c.language, d.language) AS language FROM chunks c "
    "JOIN documents d ON d.id = c.document_id WHERE c.id > :after ORDER BY c.id LIMIT :limit"
)


def upgrade() -> None:
    """The terms of what is there are made anew: the table of before does not hold them."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    op.execute("DROP TABLE chunk_terms")
    op.execute("CREATE VIRTUAL TABLE chunk_terms USING fts5(title, body, tokenize='ascii')")
    after, done = 0, 0
    passages = bind.execute(sa.text("SELECT count(*) FROM chunks")).scalar_one()
    while rows := bind.execute(_FOUND, {"after": after, "limit": AT_ONCE}).all():
        remember(
            bind, [(row.id, passage_terms(row.title, row.language), passage_terms(row.text, row.language)) for row in rows]
        )
        after, done = rows[-1].id, done + len(rows)
        if done * TOLD // passages > (done - len(rows)) * TOLD // passages:
            context.config.attributes["tell"](f"making full text anew: {done:,} of {passages:,} passages")


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("ALTER TABLE chunk_terms RENAME TO chunk_terms_kept")
    op.execute("CREATE VIRTUAL TABLE chunk_terms USING fts5(title, body, content='', contentless_delete=1, tokenize='ascii')")
    op.execute("INSERT INTO chunk_terms (rowid, title, body) SELECT rowid, title, body FROM chunk_terms_kept ORDER BY rowid")
    op.execute("DROP TABLE chunk_terms_kept")
