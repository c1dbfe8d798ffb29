"""The order of text on PostgreSQL: by its bytes, as on SQLite. A server's own order follows its C library, and after an update of
that an index made before it answers wrong."""

from sqlalchemy import Connection, String, inspect


def sort_by_bytes(conn: Connection) -> None:
    """Give every column of text the collation "C" where it has another."""
    if conn.dialect.name != "postgresql":
        return
    tables = inspect(conn)
    for table in tables.get_table_names():
        texts = {each["name"]: each["type"] for each in tables.get_columns(table) if isinstance(each["type"], String)}
        changes = [
            f'ALTER "{name}" TYPE {kind.__visit_name__} COLLATE "C"' for name, kind in texts.items() if kind.collation != "C"
        ]
        if changes:
            conn.exec_driver_sql(f'ALTER TABLE "{table}" {", ".join(changes)}')
