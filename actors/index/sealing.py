"""What a merge leaves, and the making of its files."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from actors.index import policy
from actors.index.arrangement import Arrangement
from actors.index.guide import Guide
from actors.index.linking import write_codes, write_graph
from actors.index.parts import Part
from actors.index.rows import RowColumns
from actors.index.sealed import FlatBase, write_flat
from actors.index.snapshot import DamagedSnapshot, Manifest, SnapshotFolder

File = tuple[str, str]  # its name and hash


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the last merge left. `linkable`: its first rows, which a graph may have; `hollow`: those that are dead and kept for the
    graph's sake, with another row's vector. Of one `lineage` all have the same rows at the graph's places."""

    columns: RowColumns = field(default_factory=RowColumns.empty)
    base: FlatBase | None = None
    guide: Guide | None = None
    base_file: File | None = None
    graph_file: File | None = None
    codes_file: File | None = None
    linkable: int = 0
    hollow: int = 0
    lineage: object = field(default_factory=object)

    @property
    def linked(self) -> int:
        return self.guide.rows if self.guide else 0

    @property
    def kind(self) -> policy.BaseKind:
        return self.guide.kind if self.guide else "flat"

    def files(self) -> dict[str, str]:
        return dict(each for each in (self.base_file, self.graph_file, self.codes_file) if each)

    def parts(self) -> list[Part]:
        """What the graph is over, and the rest."""
        if self.base is None:
            return []
        at = self.linked
        rest = Part(self.columns.numbered(slice(at, None)), self.base.vectors[at:], self.base)
        if self.guide is None:
            return [rest]
        return [Part(self.columns.numbered(slice(at)), self.base.vectors[:at], self.base, self.guide), rest]


class Sealer:
    """Makes files under names never used before, or none: what it began is removed when the rest fails. Not thread-safe."""

    def __init__(self, files: SnapshotFolder, limits: policy.Limits) -> None:
        self._files, self._limits = files, limits
        self._generation = 0
        self._made: list[str] = []

    def next(self, what: str, kind: str = "faiss") -> str:
        """A new name."""
        self._generation += 1
        self._made.append(name := f"{what}-{self._generation}.{kind}")
        return name

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        self._made.clear()
        try:
            yield
        except BaseException:
            for name in self._made:
                self._files.path(name).unlink(missing_ok=True)
            raise

    def take_up(self, manifest: Manifest, columns: RowColumns) -> Sealed:
        """What a snapshot names. DamagedSnapshot or ValueError when it does not fit together."""
        self._generation = int(manifest.state.split("-")[1].split(".")[0])
        base = None if manifest.base is None else FlatBase(self._files.path(manifest.base), manifest.dimension)
        if len(columns) != (base.count if base else 0):
            raise DamagedSnapshot("the columns do not fit the base")
        sealed = Sealed(
            columns=columns,
            base=base,
            base_file=manifest.file(manifest.base),
            linkable=manifest.linkable,
            hollow=manifest.hollow,
        )
        graph_file, codes_file = manifest.file(manifest.graph), manifest.file(manifest.codes)
        return sealed if graph_file is None else self._walked(sealed, manifest.base_kind, graph_file, codes_file)

    def anew(self, old: Sealed, arranged: Arrangement, graph: Any, dimension: int, *, same: bool) -> Sealed:
        """A new base. Its graph is a new one, or the old one where its rows are the `same`. Raises OSError."""
        if not arranged.count:
            return Sealed()
        with self._all_or_nothing():
            name = self.next("base")
            digest = write_flat(self._files.path(name), dimension, arranged.count, arranged.blocks)
            same = same and arranged.kept > 0
            sealed = Sealed(
                columns=arranged.columns,
                base=FlatBase(self._files.path(name), dimension),
                graph_file=old.graph_file if same else None,
                base_file=(name, digest),
                linkable=arranged.linkable,
                hollow=arranged.hollow,
                lineage=old.lineage if same else object(),
            )
            return self._guided(sealed, graph if arranged.kept else None)

    def guided(self, sealed: Sealed, graph: Any) -> Sealed:
        """The same base with a new graph, or with the one that it has walked as the policy says. Raises OSError."""
        with self._all_or_nothing():
            return self._guided(sealed, graph)

    def _guided(self, sealed: Sealed, graph: Any) -> Sealed:
        graph_file, codes_file = sealed.graph_file, None
        if graph is not None:
            name = self.next("graph")
            graph_file = name, write_graph(graph, self._files.path(name))
        if sealed.base is None or graph_file is None:
            return sealed
        vectors = sealed.base.vectors[: sealed.linkable]
        kind = policy.graph_kind(len(vectors), vectors.shape[1], self._limits)
        if kind == "sq8":
            name = self.next("codes")
            codes_file = name, write_codes(vectors, self._files.path(name))
        return self._walked(sealed, kind, graph_file, codes_file)

    def _walked(self, sealed: Sealed, kind: policy.BaseKind, graph: File, codes: File | None) -> Sealed:
        assert sealed.base is not None
        codes_path = self._files.path(codes[0]) if codes else None
        guide = Guide(kind, sealed.base, self._files.path(graph[0]), codes_path)
        return replace(sealed, guide=guide, graph_file=graph, codes_file=codes)
