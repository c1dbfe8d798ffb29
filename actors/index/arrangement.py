"""The order of rows in a new base: those of the graph where it has them, what it may have next, the copies too many."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.index.copies import keys_of, surplus
from actors.index.ranking import Rows, Vectors
from actors.index.rows import RowColumns


@dataclass(frozen=True, slots=True)
class Given:
    """Rows to choose from, and which of them live."""

    columns: RowColumns
    vectors: Vectors
    live: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """`blocks` are written one after the other. The first `kept` rows stand where they were told to, `hollow` of them dead, with the
    vector of a neighbour in place of their own; a graph may have the first `linkable`."""

    columns: RowColumns
    blocks: list[tuple[Vectors, Rows]]
    kept: int
    linkable: int
    hollow: int

    @property
    def count(self) -> int:
        return len(self.columns)


def arrange(base: Given, tail: Given, kept: Rows, neighbours: Callable[[int], Rows]) -> Arrangement:
    """The living rows of both. The rows `kept` of the base come first and in that order, living or not, unless all are dead;
    `neighbours` gives places among them."""
    alive = base.live[kept]
    if not alive.any():
        kept, alive = kept[:0], alive[:0]
    sources = kept.copy()
    for place in np.flatnonzero(~alive):
        near = neighbours(int(place))
        near = near[alive[near]]
        sources[place] = kept[near[0] if len(near) else np.argmax(alive)]
    free = base.live.copy()
    free[kept] = False
    rows = [np.flatnonzero(free), np.flatnonzero(tail.live)]
    keys = [keys_of(base.vectors, sources), keys_of(base.vectors, rows[0]), keys_of(tail.vectors, rows[1])]
    too_many = surplus(np.concatenate(keys))[len(kept) :]
    many = [too_many[: len(rows[0])], too_many[len(rows[0]) :]]
    order = [(base, kept, sources)]
    for chosen in (True, False):
        for given, its, copies in zip((base, tail), rows, many, strict=True):
            some = its[copies != chosen]
            order.append((given, some, some))
    return Arrangement(
        columns=RowColumns.joined([given.columns.numbered(its) for given, its, _ in order]),
        blocks=[(given.vectors, its) for given, _, its in order],
        kept=len(kept),
        linkable=len(kept) + len(too_many) - int(too_many.sum()),
        hollow=len(kept) - int(alive.sum()),
    )
