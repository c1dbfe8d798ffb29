"""What a shard is searched by: rows that lie together, and where a graph is over them, what it proposes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.index.guide import Guide
from actors.index.ranking import Rows, Scores, Vectors, best, exact_scores, quick_scores
from actors.index.rows import RowColumns


@dataclass(frozen=True, slots=True)
class Part:
    """`holder` keeps a mapping alive as long as its vectors are read."""

    columns: RowColumns
    vectors: Vectors
    holder: object = None
    guide: Guide | None = None

    def candidates(
        self, codes: NDArray[np.bool_], languages: Sequence[int] | None, vector: Vectors, k: int
    ) -> tuple[Rows | None, Scores]:
        """Rows that a filter lets through, all (None for every one) or those that a graph proposes, and their quick scores."""
        mask = codes[self.columns.codes]
        if languages is not None:
            mask &= np.isin(self.columns.languages, languages)
        if self.guide is not None:
            rows: Rows | None = self.guide.near(vector, mask, k)
        else:
            rows = None if mask.all() else np.flatnonzero(mask)
        return rows, quick_scores(self.vectors, vector, rows)


def nearest(
    parts: Sequence[Part], codes: NDArray[np.bool_], languages: Sequence[int] | None, vector: Vectors, k: int
) -> tuple[Rows, Scores]:
    """Ids and exact scores of all that can be among the `k` best."""
    found = [part.candidates(codes, languages, vector, k) for part in parts]
    ids, scores = [], []
    chosen = best([quick for _, quick in found], k, len(vector))
    for part, (rows, _), places in zip(parts, found, chosen, strict=True):
        numbers = places if rows is None else rows[places]
        ids.append(part.columns.ids[numbers])
        scores.append(exact_scores(part.vectors[numbers], vector))
    return np.concatenate(ids), np.concatenate(scores)
