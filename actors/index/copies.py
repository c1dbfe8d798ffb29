"""Equal vectors: a graph may have a few of each.

Hundreds of passages with one vector (a footer, a licence) link only to each other and to nobody else: in a graph of 9,000 rows, 20
vectors of which came 300 times, recall fell to 0.36. So a graph gets `COPIES` of each, and the rest is scanned.
"""

import numpy as np
from numpy.typing import NDArray

from actors.index.ranking import Rows, Vectors

COPIES = 8  # of one vector in a graph, an eighth of the links that a row has
_BLOCK_ROWS = 4_096
_SEED = 1


def keys_of(vectors: Vectors, rows: Rows) -> NDArray[np.uint64]:
    """A number for each row, equal for equal vectors, and for others by a chance of 2^-64."""
    words = np.random.default_rng(_SEED).integers(1, 1 << 63, vectors.shape[1], dtype=np.uint64) | np.uint64(1)
    keys = np.empty(len(rows), dtype=np.uint64)
    for at in range(0, len(rows), _BLOCK_ROWS):
        bits = np.ascontiguousarray(vectors[rows[at : at + _BLOCK_ROWS]]).view(np.uint32)
        keys[at : at + len(bits)] = (bits * words).sum(axis=1, dtype=np.uint64)
    return keys


def surplus(keys: NDArray[np.uint64], copies: int = COPIES) -> NDArray[np.bool_]:
    """Which are the copies too many, where the first `copies` of each count."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.ones(len(keys), dtype=np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    at = np.arange(len(keys))
    places = at - np.maximum.accumulate(np.where(begins, at, 0))
    found = np.empty(len(keys), dtype=np.bool_)
    found[order] = places >= copies
    return found
