"""Making a graph: links between rows, aside and in small steps, over a byte for each component.

Built over bytes a graph leads as well as one built over the vectors, in a quarter of the memory. FAISS lets go of Python's lock while it
links, and the caller's thread may run at a lower priority.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np

from actors.index.durable import new_file, sha256_of
from actors.index.guide import open_index
from actors.index.ranking import Rows, Vectors

LINKS = 32  # of a row, twice as many at the lowest level
EF_BUILD = 40  # rows that a new row's links are chosen from
BATCH_ROWS = 512  # linked between two looks at whether to go on: a fifth of a second
_WRITE_BYTES = 1 << 20  # of a file at once
TRAINING_ROWS = 65_536  # that the range of each component is read from

_faiss = cast("Any", faiss)


def quantiser(vectors: Vectors, rows: Rows) -> Any:
    """A byte for each component, over the range that the rows have; empty yet."""
    codes = _faiss.IndexScalarQuantizer(vectors.shape[1], _faiss.ScalarQuantizer.QT_8bit, _faiss.METRIC_INNER_PRODUCT)
    codes.train(np.ascontiguousarray(vectors[rows[:: max(1, len(rows) // TRAINING_ROWS)]]))
    return codes


def add(index: Any, vectors: Vectors, rows: Rows, go_on: Callable[[], bool], batch: int = BATCH_ROWS) -> bool:
    """Add the numbered rows; whether it came to the end."""
    _faiss.omp_set_num_threads(1)
    for at in range(0, len(rows), batch):
        if not go_on():
            return False
        index.add(np.ascontiguousarray(vectors[rows[at : at + batch]]))
    return True


def linked(vectors: Vectors, rows: Rows, known: Path | None, known_rows: int, go_on: Callable[[], bool]) -> Any:
    """A graph over the numbered rows, going on from a graph over the first `known_rows` of them; None when told to stop."""
    codes = quantiser(vectors, rows)
    if known is None:
        graph, known_rows = _faiss.IndexHNSWSQ(vectors.shape[1], _faiss.ScalarQuantizer.QT_8bit, LINKS, codes.metric_type), 0
        graph.is_trained = True
    else:
        graph = open_index(known, 0)
    if not add(codes, vectors, rows[:known_rows], go_on, 8 * BATCH_ROWS):
        return None
    graph.hnsw.efConstruction = EF_BUILD
    graph.storage, graph.own_fields = codes, False
    graph.referenced_objects = [codes]  # as FAISS itself keeps what an index needs alive
    return graph if add(graph, vectors, rows[known_rows:], go_on) else None


def write_graph(graph: Any, path: Path) -> str:
    """Write the links, durably; the file's SHA-256. Raises OSError, and leaves no file then."""
    return _write(graph, path, _faiss.IO_FLAG_SKIP_STORAGE)


def write_codes(vectors: Vectors, path: Path) -> str:
    """Write a byte for each component of the vectors, durably; the file's SHA-256. Raises OSError, and leaves no file then."""
    rows = np.arange(len(vectors))
    codes = quantiser(vectors, rows)
    add(codes, vectors, rows, lambda: True, 8 * BATCH_ROWS)
    return _write(codes, path, 0)


def _write(index: Any, path: Path, flags: int) -> str:
    """FAISS's own writer takes no notice when the end of a file finds no room, so the bytes go through a file of Python's."""
    with new_file(path) as file:
        try:
            _faiss.write_index(index, _faiss.PyCallbackIOWriter(file.write, _WRITE_BYTES), flags)
        except RuntimeError as error:  # FAISS's word for a disk that fails
            raise OSError(f"{path.name} can't be written: {error}") from error
    return sha256_of(path)
