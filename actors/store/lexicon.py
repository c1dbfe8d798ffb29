"""Where the terms of passages are kept and ranked: SQLite's FTS5, or tables of ours on PostgreSQL, which has no BM25. One formula,
one weight of the title, one set of terms (`terms`) for both: see docs/adr/0010."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection

from actors.store import fts5, postings

TermsOf = tuple[int, str, str]  # a passage's id, the terms of its title and of its body, parted by spaces


class Lexicon(Protocol):
    """The four things that full text does. The module of each database has them."""

    def remember(self, conn: Connection, rows: Sequence[TermsOf]) -> None:
        """Keep the terms of new passages, in the transaction of their rows."""
        ...

    def forget(self, conn: Connection, ids: Sequence[int]) -> None: ...

    def count(self, conn: Connection, term: str) -> int:
        """In how many passages, of everybody, the term stands."""
        ...

    def ranked(
        self, conn: Connection, counts: Mapping[str, int], conditions: str, bound: dict[str, Any], k: int
    ) -> Sequence[tuple[int, float]]:
        """The `k` best passages with any of these terms, which stand in so many passages each, under conditions on `c` (chunks)
        and `d` (documents)."""
        ...


def lexicon(conn: Connection) -> Lexicon:
    return fts5 if conn.dialect.name == "sqlite" else postings
