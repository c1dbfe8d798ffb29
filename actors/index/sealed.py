"""The sealed base: vectors in a file that FAISS maps and nobody changes any more.

Adding to a mapped index, or removing from it, aborts the process; so this class has neither. Every kind of base has this file, for
exact scores and for scoring rows by number; `guide.py` is what other kinds have beside it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np

from actors.index.durable import new_file
from actors.index.ranking import Vectors

_NTOTAL_AT = 8  # in an IndexFlatIP's file: four letters, the dimension, then the number of vectors
_BLOCK_ROWS = 4_096  # written at once: 8 MB at 512 dimensions


class FlatBase:
    """A mapped IndexFlatIP. Reading it is safe from any number of threads."""

    def __init__(self, path: Path, dimension: int) -> None:
        """Raises ValueError when the file is no flat index of that dimension."""
        try:
            self.index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ValueError(f"{path.name} is not an index: {error}") from error
        if not isinstance(self.index, faiss.IndexFlatIP) or self.index.d != dimension:
            raise ValueError(f"expected a flat index of {dimension} dimensions, got {type(self.index).__name__} {self.index.d}")
        self.count = int(self.index.ntotal)
        size = self.count * dimension
        self.vectors: Vectors = faiss.rev_swig_ptr(self.index.get_xb(), size).reshape(self.count, dimension)


def _header(dimension: int, count: int) -> bytes:
    """What FAISS writes before the vectors, with the count filled in: so a base is written in one pass and little memory."""
    one = faiss.IndexFlatIP(dimension)
    one.add(np.zeros((1, dimension), dtype=np.float32))
    header = bytearray(faiss.serialize_index(one)[: -4 * dimension])
    header[_NTOTAL_AT : _NTOTAL_AT + 8] = count.to_bytes(8, "little")
    header[-8:] = (count * dimension).to_bytes(8, "little")
    return bytes(header)


def write_flat(path: Path, dimension: int, count: int, parts: Iterable[tuple[Vectors, np.ndarray]]) -> str:
    """Write the numbered rows of each part as one index file, durably; its SHA-256. `count` is the sum of the rows.

    The file is byte for byte what `faiss.write_index` writes. Raises OSError, and leaves no file then."""
    digest = hashlib.sha256()
    with new_file(path) as file:
        header = _header(dimension, count)
        digest.update(header)
        file.write(header)
        for vectors, rows in parts:
            for at in range(0, len(rows), _BLOCK_ROWS):
                block = np.ascontiguousarray(vectors[rows[at : at + _BLOCK_ROWS]], dtype="<f4").data.cast("B")
                digest.update(block)
                file.write(block)
    return digest.hexdigest()
