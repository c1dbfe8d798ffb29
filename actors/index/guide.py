"""What finds the near rows of a base without looking at all of them: a graph over its first rows, and what the graph is walked over.

`hnsw` walks over the base's own vectors, `sq8` over a byte for each component in a file of its own, a quarter of the size. Either
only proposes rows: whoever asks scores them by the base's vectors. The graph's file is the same for both and holds links alone.
"""

from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from actors.index.policy import BaseKind
from actors.index.ranking import Rows, Vectors
from actors.index.sealed import FlatBase

EF = 256  # rows that the walk keeps in hand, at least
EF_PER_K = 2
EF_ROWS = 24  # rows that can be scored by number in the time of one step of the walk
WIDEN = 4  # how much further a walk goes that came back with too little
SHORTLIST = 64  # rows that bytes propose, at least
SHORTLIST_PER_K = 4

_faiss = cast("Any", faiss)  # its stubs leave much out


def open_index(path: Path, flags: int) -> Any:
    """Read a file of FAISS's. ValueError when it is none."""
    try:
        return _faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise ValueError(f"{path.name} is not an index: {error}") from error


class Guide:
    """A mapped graph over the first `rows` rows of `base`. Asking is safe from any number of threads."""

    def __init__(self, kind: BaseKind, base: FlatBase, graph: Path, codes: Path | None) -> None:
        """Raises ValueError when the files do not fit the base."""
        self.kind: BaseKind = kind
        self._graph = open_index(graph, _faiss.IO_FLAG_MMAP_IFC)
        self._codes: Any = None if codes is None else open_index(codes, _faiss.IO_FLAG_MMAP_IFC)
        walked = base.index if self._codes is None else self._codes
        self.rows = int(self._graph.ntotal)
        if self._graph.d != base.index.d or walked.d != base.index.d or not 0 < self.rows <= min(base.count, walked.ntotal):
            raise ValueError(f"a graph of {self.rows} rows does not fit a base of {base.count}")
        self._graph.storage, self._graph.own_fields = walked, False
        self._base = base  # kept alive

    def near(self, query: Vectors, allowed: NDArray[np.bool_], k: int) -> Rows:
        """Rows that hold the `k` best of those allowed, most likely; never fewer than `k` where there are `k`.

        A walk that stops once it has met enough allowed rows brings any of them, not the nearest: so it takes the nearest of all rows,
        as many as should have enough allowed ones among them, and goes further where they have not."""
        count, wanted = int(np.count_nonzero(allowed)), max(EF, EF_PER_K * k)
        if count <= wanted:
            return np.flatnonzero(allowed)
        _faiss.omp_set_num_threads(1)  # OpenMP keeps this setting per calling thread
        explored = wanted * self.rows // count
        while explored < self.rows and explored * EF_ROWS < count:
            found = self._walk(query, explored)
            if found is None:
                break
            found = found[allowed[found]]
            if len(found) >= EF_PER_K * k:
                return found
            explored *= WIDEN
        return (
            np.flatnonzero(allowed) if self._codes is None else self._scan(query, max(SHORTLIST, SHORTLIST_PER_K * k), allowed)
        )

    def _walk(self, query: Vectors, explored: int) -> Rows | None:
        """The nearest of all rows; None when it strayed into a pocket: too few came, or hardly any but copies of one another."""
        scores, rows = self._graph.search(query[None], explored, params=_faiss.SearchParametersHNSW(efSearch=explored))
        if rows[0, -1] < 0 or np.count_nonzero(np.diff(scores[0])) < explored // 2:  # they come in order
            return None
        return rows[0]

    def _scan(self, query: Vectors, wanted: int, allowed: NDArray[np.bool_]) -> Rows:
        """The best of those allowed by their bytes, all of them looked at."""
        bits = np.zeros((int(self._codes.ntotal) + 7) // 8, dtype=np.uint8)
        packed = np.packbits(allowed, bitorder="little")
        bits[: len(packed)] = packed
        parameters = _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(bits))
        _, rows = self._codes.search(query[None], wanted, params=parameters)
        return rows[0][rows[0] >= 0]

    def neighbours(self, row: int) -> Rows:
        """The rows that a row is linked to."""
        return neighbours(self._graph, row)


def neighbours(graph: Any, row: int) -> Rows:
    """The rows that a row of a graph is linked to; none for a row that is not in it."""
    if row >= graph.ntotal:
        return np.empty(0, np.int64)
    hnsw = graph.hnsw
    at = int(hnsw.offsets.at(row))
    links = _faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())[at : at + hnsw.nb_neighbors(0)]
    return links[links >= 0].astype(np.int64)
