"""One shard: a sealed base, a tail in RAM, filter columns with tombstones, and the sequence that all of it stands at."""

import contextlib
import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actors.index import policy
from actors.index.arrangement import Given, arrange
from actors.index.documents import DocumentTable
from actors.index.guide import neighbours
from actors.index.linking import linked
from actors.index.parts import Part, nearest
from actors.index.ranking import Rows, ranked
from actors.index.rows import Languages, RowColumns, Tail
from actors.index.sealing import File, Sealed, Sealer
from actors.index.snapshot import DamagedSnapshot, Manifest, ShardSpec, SnapshotFolder
from perenne import names
from perenne.clock import Clock, SystemClock
from perenne.errors import InvalidRequest
from perenne.messages.search import Feed, FeedItem, ShardHits, ShardQuery

log = logging.getLogger(__name__)

LINK_ROWS = 65_536  # linked between two writings of the graph: half a minute's work, the most that a death costs


class Shard:
    """`apply` feeds it, `search` asks it, `merge` and `snapshot` keep it. All may be called from any thread.

    A search sees the shard as it was at one sequence and holds the lock only to take hold of the parts, so that
    neither feeding nor merging waits for it. Applying what was applied changes nothing."""

    def __init__(self, folder: Path, spec: ShardSpec, clock: Clock | None = None, limits: policy.Limits = policy.USUAL) -> None:
        """Nothing is read before `open`."""
        self._files, self._spec, self._clock = SnapshotFolder(folder, spec), spec, clock or SystemClock()
        self._limits, self._sealer = limits, Sealer(self._files, limits)
        self._lock = threading.Lock()  # held for moments: whoever reads or changes the fields below
        self._keeping = threading.Lock()  # held for seconds: one merge or snapshot at a time
        self._linking = threading.Lock()  # held for a minute: whoever makes a graph, aside; taken before the others
        self._stopped = threading.Event()
        self._clear()

    def _clear(self) -> None:
        self.applied, self.origin, self.dimension = 0, "", 0
        self._sealed = Sealed()
        self._pinned = 0  # rows of the base that a merge leaves where they are, because a graph is being made over them
        self.refused = 0  # changes whose vectors did not fit
        self._tail = Tail(0)
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
            columns = RowColumns.from_arrays("base", arrays)
            self._tail = Tail(manifest.dimension, RowColumns.from_arrays("tail", arrays), arrays["tail_vectors"])
        self._table, self._languages = DocumentTable.from_columns(words["table"]), Languages(words["languages"])
        self._sealed = self._sealer.take_up(manifest, columns)
        if self._table.live_rows != manifest.count:
            raise DamagedSnapshot("the documents do not fit the count")
        self.applied, self.origin, self.dimension = manifest.seq, manifest.origin, manifest.dimension
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
        ids, scores = nearest(parts, codes, languages, vector, query.k)
        found, cosines = ranked(ids, scores, query.k)
        return ShardHits(ids=found, scores=cosines, applied_seq=applied)

    def _parts(self) -> list[Part]:
        return [*self._sealed.parts(), Part(self._tail.columns(), self._tail.vectors())]

    # Keeping

    def _dead_rows(self) -> int:
        """Those whose vectors are still there."""
        return len(self._sealed.columns) + len(self._tail) - self._table.live_rows - self._sealed.hollow

    def load(self, behind: bool = False) -> policy.Load:
        """What there is to keep."""
        with self._lock:
            now = self._clock.monotonic()
            return policy.Load(
                base_rows=len(self._sealed.columns),
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
        if policy.merge_due(load, self._limits):
            self.merge()
        elif policy.snapshot_due(load):
            self.snapshot()

    def merge(self) -> None:
        """Write the living rows of base and tail as a new base, go over to it and leave a snapshot. Searching and feeding go on."""
        with self._keeping:
            with self._lock:
                kept = np.arange(min(len(self._sealed.columns), max(self._sealed.linked, self._pinned)))
            self._merge(kept, None)

    def _merge(self, kept: Rows, graph: Any) -> None:
        """`kept`: the rows of the base that come first, as the graph has them that there is, or the new `graph`."""
        with self._lock:
            old, live, dimension, merged = self._sealed, self._table.live(), self.dimension, len(self._tail)
            tail, tail_vectors = self._tail.columns(), self._tail.vectors()
            frozen_at = self._clock.monotonic()
        vectors = old.base.vectors if old.base else tail_vectors[:0]
        links = (lambda row: neighbours(graph, row)) if graph is not None else old.guide.neighbours if old.guide else _no_links
        arranged = arrange(
            Given(old.columns, vectors, live[old.columns.codes]), Given(tail, tail_vectors, live[tail.codes]), kept, links
        )
        same = graph is None and len(kept) >= old.linked
        sealed = self._sealer.anew(old, arranged, graph, dimension, same=same)
        with self._lock:  # codes of rows that died meanwhile go to DEAD here
            self._table, renumbered = self._table.compacted()
            self._sealed = replace(sealed, columns=sealed.columns.renumbered(renumbered))
            self._tail = self._tail.after(merged, renumbered)
            self._died_at = frozen_at if self._dead_rows() else None
        self._write()

    # Linking

    def link(self) -> bool:
        """Bring the graph a step nearer to what the policy wants; whether there may be more to do. Searching, feeding and keeping go
        on beside it. OSError when the disk fails: then everything stays as it was."""
        with self._linking:
            with self._keeping:
                sealed, step, rows = self._next_step()
                if step == "drop":
                    self._merge(np.empty(0, np.int64), None)
                if step == "convert":
                    self._attach(None)
            if step in ("extend", "renew"):
                self._make(sealed, None if step == "renew" else sealed.graph_file, rows)
            return step != "nothing" and not self._stopped.is_set()

    def _next_step(self) -> tuple[Sealed, policy.Step, Rows]:
        """What is to be done, and over which rows of the base, which stay where they are from now on."""
        with self._lock:
            sealed, live = self._sealed, self._table.live()[self._sealed.columns.codes]
            dead = int(np.count_nonzero(~live[: sealed.linked]))
            step = policy.link_step(sealed.kind, sealed.linked, sealed.linkable, dead, self.dimension, self._limits)
            if step == "renew":
                rows, self._pinned = np.flatnonzero(live[: sealed.linkable]), sealed.linkable
            else:
                rows = np.arange(min(sealed.linkable, sealed.linked + LINK_ROWS))
                self._pinned = len(rows) if step == "extend" else 0
            return sealed, step, rows

    def _make(self, sealed: Sealed, known: File | None, rows: Rows) -> None:
        """Make a graph over these rows, going on from the one `known`, and go over to it if the base is still of that lineage."""
        assert sealed.base is not None
        try:
            path = self._files.path(known[0]) if known else None
            graph = linked(sealed.base.vectors, rows, path, sealed.linked, lambda: self._wanted(sealed))
            with self._keeping:
                if graph is None or not self._wanted(sealed):
                    return
                if known is None and sealed.linked:
                    self._merge(rows, graph)
                else:
                    self._attach(graph)
        finally:
            self._pinned = 0

    def _wanted(self, sealed: Sealed) -> bool:
        return not self._stopped.is_set() and self._sealed.lineage is sealed.lineage

    def _attach(self, graph: Any) -> None:
        """Go over to a new graph of the same rows, or to another way of walking the old one, and leave a snapshot."""
        guided = self._sealer.guided(self._sealed, graph)
        with self._lock:
            self._sealed = guided
        self._write()

    def snapshot(self) -> None:
        """Leave on disk all that was applied, beside the base that is there."""
        with self._keeping:
            self._write()

    def _write(self) -> None:
        with self._lock:
            sealed = self._sealed
            table, renumbered = self._table.compacted()
            base, tail, vectors = sealed.columns, self._tail.columns(), self._tail.vectors()
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
        state = self._sealer.next("state", "npz")
        try:
            files = {state: self._files.write_state(state, lambda file: np.savez(file, **arrays))}
            files |= sealed.files()
            manifest = Manifest(
                spec=self._spec,
                seq=seq,
                origin=origin,
                dimension=dimension,
                count=table.live_rows,
                base=sealed.base_file and sealed.base_file[0],
                base_kind=sealed.kind,
                graph=sealed.graph_file and sealed.graph_file[0],
                codes=sealed.codes_file and sealed.codes_file[0],
                linkable=sealed.linkable,
                hollow=sealed.hollow,
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

    def stop_linking(self) -> None:
        """A graph in the making is given up, and none is begun any more."""
        self._stopped.set()

    def close(self) -> None:
        """Leave a snapshot if anything changed since the last. What can't be written is fetched again from the feed."""
        self.stop_linking()
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
                "linked": self._sealed.linked,
                "tail": load.tail_rows,
                "dead": load.dead_rows,
                "dimension": self.dimension,
                "refused": self.refused,
            }


def _no_links(_row: int) -> Rows:
    return np.empty(0, np.int64)
