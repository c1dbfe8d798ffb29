"""The columns of rows: what each vector is the vector of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.index.column import Column
from actors.index.ranking import Rows, Vectors

NO_LANGUAGE = 0


class Languages:
    """Small numbers for language names."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._codes = {name: n for n, name in enumerate(names, start=1)}

    def code(self, name: str | None) -> int:
        """The number of a language, a new one if need be."""
        return NO_LANGUAGE if name is None else self._codes.setdefault(name, len(self._codes) + 1)

    def known(self, names: Sequence[str]) -> list[int]:
        """The numbers of those that any row has."""
        return [self._codes[name] for name in names if name in self._codes]

    def names(self) -> list[str]:
        return list(self._codes)


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Of each row: the passage's id, the code of its document's version, its language's number."""

    ids: Rows
    codes: NDArray[np.int32]
    languages: NDArray[np.int16]

    @classmethod
    def empty(cls) -> "RowColumns":
        return cls(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int16))

    def __len__(self) -> int:
        return len(self.ids)

    def numbered(self, rows: Rows | slice) -> "RowColumns":
        return RowColumns(self.ids[rows], self.codes[rows], self.languages[rows])

    def renumbered(self, codes: NDArray[np.int32]) -> "RowColumns":
        """With the codes of a compacted table."""
        return RowColumns(self.ids, codes[self.codes], self.languages)

    @classmethod
    def joined(cls, parts: "Sequence[RowColumns]") -> "RowColumns":
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.languages for part in parts]),
        )

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """For a snapshot."""
        return {f"{prefix}_ids": self.ids, f"{prefix}_codes": self.codes, f"{prefix}_languages": self.languages}

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Any) -> "RowColumns":
        """What `arrays` gave. ValueError when the columns differ in length."""
        columns = cls(arrays[f"{prefix}_ids"], arrays[f"{prefix}_codes"], arrays[f"{prefix}_languages"])
        if not len(columns.ids) == len(columns.codes) == len(columns.languages):
            raise ValueError(f"the {prefix} columns differ in length")
        return columns


class Tail:
    """The rows since the base was sealed, in RAM. What `rows` and `vectors` gave stays as it was while rows are added."""

    def __init__(self, dimension: int, columns: RowColumns | None = None, vectors: Vectors | None = None) -> None:
        columns = columns or RowColumns.empty()
        self._dimension = dimension
        self._ids = Column(np.int64, values=columns.ids)
        self._codes = Column(np.int32, values=columns.codes)
        self._languages = Column(np.int16, values=columns.languages)
        self._vectors = Column(np.float32, dimension, vectors)

    def __len__(self) -> int:
        return self._ids.length

    def add(self, ids: Sequence[int], code: int, languages: Sequence[int], vectors: Vectors) -> None:
        self._ids.extend(ids)
        self._codes.extend(np.full(len(ids), code))
        self._languages.extend(languages)
        self._vectors.extend(vectors)

    def columns(self) -> RowColumns:
        return RowColumns(self._ids.view(), self._codes.view(), self._languages.view())

    def vectors(self) -> Vectors:
        return self._vectors.view()

    def after(self, rows: int, codes: NDArray[np.int32]) -> "Tail":
        """A tail of what came after the first `rows`, with the codes of a compacted table."""
        rest = np.arange(rows, len(self))
        return Tail(self._dimension, self.columns().numbered(rest).renumbered(codes), self.vectors()[rows:])
