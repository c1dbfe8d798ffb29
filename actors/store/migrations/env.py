"""Alembic's entry: run by `actors.store.migrate` with an open transaction, all of a migration in it or none."""

from alembic import context

from actors.store.collation import sort_by_bytes
from actors.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=False,
)
context.run_migrations()
sort_by_bytes(context.config.attributes["connection"])
