"""One shard: a sealed base, a tail in RAM, filter columns with tombstones, and the sequence that all of it stands at."""

import contextlib
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.index import policy
from actors.index.documents import DocumentTable
from actors.index.ranking import Rows, Scores, Vectors, best, exact_scores, quick_scores, ranked
from actors.index.rows import Languages, RowColumns, Tail
from actors.index.sealed import FlatBase, write_flat
from actors.index.snapshot import DamagedSnapshot, Manifest, ShardSpec, SnapshotFolder
from perenne import names
from perenne.clock import Clock, SystemClock
from perenne.errors import InvalidRequest
from perenne.messages.search import Feed, FeedItem, ShardHits, ShardQuery

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that are searched together. `holder` keeps a mapping alive as long as its vectors are read."""

    columns: RowColumns
    vectors: Vectors
    holder: object = None

    def allowed_rows(self, codes: NDArray[np.bool_], languages: list[int] | None) -> Rows | None:
        """The rows that a filter lets through; None for all of them."""
        mask = codes[self.columns.codes]
        if languages is not None:
            mask &= np.isin(self.columns.languages, languages)
        return None if mask.all() else np.flatnonzero(mask)


class Shard:
    """`apply` feeds it, `search` asks it, `merge` and `snapshot` keep it. All may be called from any thread.

    A search sees the shard as it was at one sequence and holds the lock only to take hold of the parts, so that
    neither feeding nor merging waits for it. Applying what was applied changes nothing."""

    def __init__(self, folder: Path, spec: ShardSpec, clock: Clock | None = None) -> None:
        """Nothing is read before `open`."""
        self._files, self._spec, self._clock = SnapshotFolder(folder, spec), spec, clock or SystemClock()
        self._lock = threading.Lock()  # held for moments: whoever reads or changes the fields below
        self._keeping = threading.Lock()  # held for seconds: one merge or snapshot at a time
        self._generation = 0
        self._clear()

    def _clear(self) -> None:
        self.applied, self.origin, self.dimension = 0, "", 0
        self._base: FlatBase | None = None
        self._base_file: tuple[str, str] | None = None  # its name and hash
        self.refused = 0  # changes whose vectors did not fit
        self._base_columns, self._tail = RowColumns.empty(), Tail(0)
        self._table, self._languages = DocumentTable(), Languages()
        self._rows_since_snapshot = 0
        self._changed_at: float | None = None  # the oldest change that no snapshot has
        self._died_at: float | None = None  # the oldest tombstone

    def open(self) -> int:
        """Take up the last snapshot, or begin from nothing; the sequence to follow the feed from. OSError when the disk fails."""
        with self._keeping, self._lock:
            self._clear()
            manifest = self._files.open()
            if manifest is not None:
                try:
                    self._take_up(manifest)
                except (DamagedSnapshot, ValueError, KeyError, TypeError) as error:
                    self._clear()
                    self._files.quarantine(str(error))
            return self.applied

    def _take_up(self, manifest: Manifest) -> None:
        with np.load(self._files.path(manifest.state), allow_pickle=False) as arrays:
            words = json.loads(arrays["words"].tobytes())
            self._base_columns = RowColumns.from_arrays("base", arrays)
            self._tail = Tail(manifest.dimension, RowColumns.from_arrays("tail", arrays), arrays["tail_vectors"])
        self._table, self._languages = DocumentTable.from_columns(words["table"]), Languages(words["languages"])
        if manifest.base is not None:
            self._base = FlatBase(self._files.path(manifest.base), manifest.dimension)
            self._base_file = manifest.base, manifest.files[manifest.base]
        if len(self._base_columns) != (self._base.count if self._base else 0) or self._table.live_rows != manifest.count:
            raise DamagedSnapshot("the columns do not fit the base")
        self.applied, self.origin, self.dimension = manifest.seq, manifest.origin, manifest.dimension
        self._generation = int(manifest.state.split("-")[1].split(".")[0])
        if self._dead_rows():
            self._died_at = self._clock.monotonic()

    # Feeding

    def apply(self, feed: Feed) -> int:
        """Apply a page of the feed, whole; the sequence reached. What is older than that already is passed over."""
        with self._lock:
            for item in feed.items:
                if item.seq > self.applied and policy.shard_of(item.document_id, self._spec.shards) == self._spec.number:
                    self._apply(item)
                self.applied = max(self.applied, item.seq)
            self.applied = max(self.applied, feed.upto)
            self.origin = feed.origin or self.origin
            return self.applied

    def _apply(self, item: FeedItem) -> None:
        code = self._table.code(item.document_id)
        if item.op == "delete" or (item.op == "set" and code is not None):
            if self._table.kill(item.document_id) and self._died_at is None:
                self._died_at = self._clock.monotonic()
            code = None
        if item.op in ("set", "add"):
            if code is None:
                code = self._table.open(item.document_id, item.user_id, item.project_ids)
            else:
                self._table.place(code, item.project_ids)
            self._add_rows(item, code)
        elif item.op == "projects" and code is not None:
            self._table.place(code, item.project_ids)
        self._rows_since_snapshot += 1 + len(item.chunk_ids)
        if self._changed_at is None:
            self._changed_at = self._clock.monotonic()

    def _add_rows(self, item: FeedItem, code: int) -> None:
        if not item.chunk_ids or not item.vectors:
            return
        dimension, rest = divmod(len(item.vectors), 4 * len(item.chunk_ids))
        if rest or dimension == 0 or (self.dimension and dimension != self.dimension):
            self.refused += 1  # waiting for it would stop everything behind it
            log.error(
                "the vectors of %s at %d are left out: expected %d of %d dimensions, got %d bytes",
                *(item.document_id, item.seq, len(item.chunk_ids), self.dimension, len(item.vectors)),
            )
            return
        if not self.dimension:
            self.dimension, self._tail = dimension, Tail(dimension)
        vectors = np.frombuffer(item.vectors, dtype="<f4").reshape(-1, dimension)
        if not np.isfinite(vectors).all():
            log.error("document %s has vectors that are not numbers; they are taken as zero", item.document_id)
            vectors = np.nan_to_num(vectors, nan=0.0, posinf=0.0, neginf=0.0)
        languages = [self._languages.code(each) for each in item.languages] or [0] * len(item.chunk_ids)
        self._tail.add(item.chunk_ids, code, languages, vectors)
        self._table.count(code, len(item.chunk_ids))

    def reset(self) -> None:
        """Forget everything, on disk too: the feed is not the one that was followed."""
        with self._keeping, self._lock:
            self._files.discard()
            self._clear()

    # Asking

    def search(self, query: ShardQuery) -> ShardHits:
        """The `k` nearest passages that the filters let through, all of them if there are fewer; equal scores by id.

        Scores are inner products. InvalidRequest for a vector of another dimension or a `k` out of bounds."""
        if not 1 <= query.k <= names.SEARCH_K_MAX:
            raise InvalidRequest(f"k must be 1 to {names.SEARCH_K_MAX}, got {query.k}", "k")
        with self._lock:
            applied, dimension = self.applied, self.dimension
            codes = self._table.allowed(query.user_id, query.project_ids, query.document_ids)
            languages = self._languages.known(query.languages) if query.languages else None
            parts = self._parts()
        if dimension and len(query.vector) != 4 * dimension:
            raise InvalidRequest(f"expected a vector of {4 * dimension} bytes, got {len(query.vector)}", "vector")
        vector = np.frombuffer(query.vector, dtype="<f4").astype(np.float32)
        if not np.isfinite(vector).all():
            raise InvalidRequest("the vector has components that are not numbers", "vector")
        if codes is None or not dimension:  # nothing allowed, or no vector came yet
            return ShardHits(ids=(), scores=(), applied_seq=applied)
        rows = [part.allowed_rows(codes, languages) for part in parts]
        quick = [quick_scores(part.vectors, vector, its) for part, its in zip(parts, rows, strict=True)]
        ids, scores = _collect(parts, rows, best(quick, query.k, dimension), vector)
        found, cosines = ranked(ids, scores, query.k)
        return ShardHits(ids=found, scores=cosines, applied_seq=applied)

    def _parts(self) -> list[_Part]:
        parts = [_Part(self._tail.columns(), self._tail.vectors())]
        if self._base is not None:
            parts.insert(0, _Part(self._base_columns, self._base.vectors, self._base))
        return parts

    # Keeping

    def _dead_rows(self) -> int:
        return len(self._base_columns) + len(self._tail) - self._table.live_rows

    def load(self, behind: bool = False) -> policy.Load:
        """What there is to keep."""
        with self._lock:
            now = self._clock.monotonic()
            return policy.Load(
                base_rows=len(self._base_columns),
                tail_rows=len(self._tail),
                dead_rows=self._dead_rows(),
                oldest_dead_s=0.0 if self._died_at is None else now - self._died_at,
                rows_since_snapshot=self._rows_since_snapshot,
                change_age_s=0.0 if self._changed_at is None else now - self._changed_at,
                behind=behind,
            )

    def keep(self, behind: bool = False) -> None:
        """Merge or leave a snapshot if it is time to. OSError when the disk fails: then everything stays as it was."""
        load = self.load(behind)
        if policy.merge_due(load):
            self.merge()
        elif policy.snapshot_due(load):
            self.snapshot()

    def merge(self) -> None:
        """Write the living rows of base and tail as a new base, go over to it and leave a snapshot. Searching and feeding go on."""
        with self._keeping:
            with self._lock:
                parts, live, dimension, merged = self._parts(), self._table.live(), self.dimension, len(self._tail)
                frozen_at = self._clock.monotonic()
            rows = [np.flatnonzero(live[part.columns.codes]) for part in parts]
            count = sum(map(len, rows))
            base = base_file = None
            if count:
                self._generation += 1
                name = f"base-{self._generation}.faiss"
                blocks = [(part.vectors, its) for part, its in zip(parts, rows, strict=True)]
                digest = write_flat(self._files.path(name), dimension, count, blocks)
                base, base_file = FlatBase(self._files.path(name), dimension), (name, digest)
            with self._lock:  # codes of rows that died meanwhile go to DEAD here
                self._table, renumbered = self._table.compacted()
                columns = RowColumns.empty()
                for part, its in zip(parts, rows, strict=True):
                    columns = columns.followed_by(part.columns.numbered(its).renumbered(renumbered))
                self._tail = self._tail.after(merged, renumbered)
                self._base, self._base_file, self._base_columns = base, base_file, columns
                self._died_at = frozen_at if self._dead_rows() else None
            self._write()

    def snapshot(self) -> None:
        """Leave on disk all that was applied, beside the base that is there."""
        with self._keeping:
            self._write()

    def _write(self) -> None:
        with self._lock:
            base_file = self._base_file
            table, renumbered = self._table.compacted()
            base, tail, vectors = self._base_columns, self._tail.columns(), self._tail.vectors()
            languages, since = self._languages.names(), self._rows_since_snapshot
            seq, origin, dimension = self.applied, self.origin, self.dimension
            self._changed_at, changed_at = None, self._changed_at
        words = json.dumps({"table": table.columns(), "languages": languages}).encode()
        arrays: dict[str, Any] = {
            **base.renumbered(renumbered).arrays("base"),
            **tail.renumbered(renumbered).arrays("tail"),
            "tail_vectors": vectors,
            "words": np.frombuffer(words, dtype=np.uint8),
        }
        self._generation += 1
        state = f"state-{self._generation}.npz"
        try:
            files = {state: self._files.write_state(state, lambda file: np.savez(file, **arrays))}
            if base_file is not None:
                files[base_file[0]] = base_file[1]
            manifest = Manifest(
                spec=self._spec,
                seq=seq,
                origin=origin,
                dimension=dimension,
                count=table.live_rows,
                base=base_file[0] if base_file else None,
                base_kind=policy.base_kind(len(base)),
                state=state,
                files=files,
            )
            self._files.publish(manifest)
        except OSError:
            with self._lock:
                self._changed_at = changed_at
            raise
        with self._lock:
            self._rows_since_snapshot -= since

    def close(self) -> None:
        """Leave a snapshot if anything changed since the last. What can't be written is fetched again from the feed."""
        if self.load().rows_since_snapshot:
            with contextlib.suppress(OSError):
                self.snapshot()

    def figures(self) -> dict[str, int]:
        """For `health`."""
        load = self.load()
        with self._lock:
            return {
                "applied": self.applied,
                "documents": len(self._table),
                "vectors": self._table.live_rows,
                "base": load.base_rows,
                "tail": load.tail_rows,
                "dead": load.dead_rows,
                "dimension": self.dimension,
                "refused": self.refused,
            }


def _collect(
    parts: list[_Part], rows: list[Rows | None], places: list[NDArray[np.int64]], vector: Vectors
) -> tuple[Rows, Scores]:
    """Ids and exact scores of the candidates of all parts."""
    ids, scores = [], []
    for part, its, chosen in zip(parts, rows, places, strict=True):
        numbers = chosen if its is None else its[chosen]
        ids.append(part.columns.ids[numbers])
        scores.append(exact_scores(part.vectors[numbers], vector))
    return np.concatenate(ids), np.concatenate(scores)
