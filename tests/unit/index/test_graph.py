"""Bases with a graph: what is near is found, filters are exact and never short, and no vector that was deleted stays."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule
from index_model import some_query, unit_vectors
from numpy.typing import NDArray
from test_shard import DOCUMENTS, SPEC, ShardLives

from actors.index import guide, policy, snapshot
from actors.index.copies import COPIES, keys_of, surplus
from actors.index.linking import linked, write_graph
from actors.index.policy import Limits
from actors.index.shard import Shard
from perenne.clock import ManualClock
from perenne.messages.search import Feed, FeedItem, ShardHits, ShardQuery

KINDS = ("hnsw", "sq8")
WIDE = 32  # dimensions of the vectors that recall is measured on


@pytest.fixture(autouse=True)
def _as_measured() -> Iterator[None]:
    """The tests that walk where looking at all rows would be cheaper change these."""
    held = guide.EF, guide.EF_ROWS
    yield
    guide.EF, guide.EF_ROWS = held


def small(kind: str, rows: int = 16) -> Limits:
    return Limits(kind=kind, graph_rows=rows, tail_rows=rows)  # type: ignore[arg-type]


class GraphLives(ShardLives):
    """As `ShardLives`, with a graph over a handful of rows: answers are exact, because so few are looked at one by one."""

    limits = small("hnsw")

    def new_shard(self) -> Shard:
        return Shard(self.folder, SPEC, limits=self.limits)

    @rule()
    def link(self) -> None:
        self.shard.link()

    @rule()
    def link_to_the_end(self) -> None:
        self.shard.merge()
        while self.shard.link():
            pass
        sealed = self.shard._sealed
        assert sealed.linkable - sealed.linked < max(self.limits.graph_rows, 2)


class BytesLives(GraphLives):
    limits = small("sq8")


class WalkingLives(GraphLives):
    """Every search walks: what it brings is allowed, rightly scored, in order, and never too little; most of it is the best."""

    limits = small("sq8", 8)

    def __init__(self) -> None:
        super().__init__()
        guide.EF, guide.EF_ROWS = 4, 0
        self.wanted = self.found = 0

    @invariant()
    def answers_exactly(self) -> None:
        if not hasattr(self, "shard"):
            return
        for _ in range(4):
            query = some_query(self.chance, DOCUMENTS)
            found, right = self.shard.search(query), self.model.search(query)
            everything = self.model.search(replace(query, k=100_000))
            score_of = dict(zip(everything.ids, everything.scores, strict=True))
            assert len(found.ids) == len(set(found.ids)) == len(right.ids)
            assert [score_of[n] for n in found.ids] == list(found.scores)
            assert sorted(zip((-s for s in found.scores), found.ids, strict=True)) == [
                (-s, n) for n, s in zip(found.ids, found.scores, strict=True)
            ]
            self.wanted += len(right.ids)
            self.found += sum(score >= right.scores[-1] for score in found.scores)

    def teardown(self) -> None:
        assert self.found >= 0.9 * self.wanted
        super().teardown()


for machine in (GraphLives, BytesLives, WalkingLives):
    machine.TestCase.settings = settings(
        max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
TestGraphLives, TestBytesLives, TestWalkingLives = GraphLives.TestCase, BytesLives.TestCase, WalkingLives.TestCase


# Recall


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((50, WIDE))
    rows = centres[chance.integers(0, 50, count)] + chance.standard_normal((count, WIDE))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def item(seq: int, document: str, vectors: NDArray[np.float32], first_id: int, projects: tuple[str, ...]) -> FeedItem:
    return FeedItem(
        seq=seq,
        op="set",
        document_id=document,
        user_id="u0",
        project_ids=projects,
        chunk_ids=tuple(range(first_id, first_id + len(vectors))),
        vectors=vectors.astype("<f4").tobytes(),
    )


def fed(folder: Path, vectors: NDArray[np.float32], limits: Limits, share: Callable[[int], tuple[str, ...]]) -> Shard:
    """Each vector a document of its own, in the projects that `share` gives; merged and linked."""
    shard = Shard(folder, SPEC, limits=limits)
    shard.open()
    items = [item(n + 1, f"doc_{n}", vectors[n : n + 1], n + 1, share(n)) for n in range(len(vectors))]
    shard.apply(Feed(items=tuple(items), upto=len(items), head=len(items)))
    linked_up(shard)
    return shard


def linked_up(shard: Shard) -> None:
    shard.merge()
    while shard.link():
        pass


def asked(vector: NDArray[np.float32], project: str, k: int = 10) -> ShardQuery:
    return ShardQuery(vector=vector.astype("<f4").tobytes(), k=k, user_id="u0", project_ids=(project,))


def recall(shard: Shard, vectors: NDArray[np.float32], rows: NDArray[np.int64], project: str, k: int = 10) -> float:
    """The share of hits that are as good as the `k`th best; also that there are `k` where there are, and none of other rows."""
    good = wanted = 0
    for query in clustered(60, 99):
        hits = shard.search(asked(query, project, k))
        assert len(hits.ids) == min(k, len(rows))
        assert set(hits.ids) <= set((rows + 1).tolist())
        best = np.sort(vectors[rows] @ query)[::-1][:k]
        good += sum(score >= best[-1] - 1e-6 for score in hits.scores)
        wanted += len(best)
    return good / wanted


SHARES = {"all": 1, "tenth": 10, "hundredth": 100, "thousandth": 1_000}


@pytest.fixture(scope="module", params=KINDS)
def walked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shard:
    folder = tmp_path_factory.mktemp("walked")
    return fed(
        folder, clustered(5_000, 0), small(request.param, 100), lambda n: tuple(p for p, s in SHARES.items() if n % s == 0)
    )


@pytest.mark.parametrize(("project", "share"), SHARES.items())
@pytest.mark.parametrize("always", [False, True], ids=["as measured", "walking at any share"])
def test_the_near_ones_are_found_whatever_the_filter_lets_through(
    walked: Shard, project: str, share: int, always: bool
) -> None:
    if always:
        guide.EF_ROWS = 0
    vectors = clustered(5_000, 0)
    assert walked.figures()["linked"] == 5_000
    for k in (10, 60):
        assert recall(walked, vectors, np.arange(0, 5_000, share), project, k) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_that_lets_through_what_is_far_from_the_question_is_never_short(tmp_path: Path, kind: str) -> None:
    # A walk near the question meets three of them: FAISS's own search with a selector came back with 3 of 10.
    vectors = clustered(6_000, 0)
    order = np.argsort(vectors @ clustered(1, 98)[0])
    far = np.concatenate([order[:900], order[-3:]])
    inside = frozenset(far.tolist())
    shard = fed(tmp_path, vectors, small(kind, 100), lambda n: ("far",) if n in inside else ("near",))
    guide.EF_ROWS = 0
    query = asked(clustered(1, 98)[0], "far")
    hits = shard.search(query)
    best = np.sort(vectors[far] @ clustered(1, 98)[0])[::-1][:10]
    assert len(hits.ids) == 10
    assert np.mean(np.array(hits.scores) >= best[-1] - 1e-6) >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_many_copies_of_a_vector_do_not_hide_the_others(tmp_path: Path, kind: str) -> None:
    # Copies link only to copies: with 300 of each of 20 vectors recall was 0.36.
    distinct = clustered(4_000, 0)
    vectors = np.concatenate([np.repeat(distinct[:20], 300, axis=0), distinct])
    shard = fed(tmp_path, vectors, small(kind, 100), lambda _: ("all",))
    guide.EF_ROWS = 1
    assert shard.figures()["linked"] == 4_000 + 20 * (COPIES - 1)
    assert recall(shard, vectors, np.arange(len(vectors)), "all") >= 0.99
    assert recall(shard, vectors, np.arange(len(vectors)), "all", 200) >= 0.95


def test_copies_are_counted_in_their_order() -> None:
    rows = unit_vectors(6, 3)[[0, 1, 0, 2, 0, 1, 0]]
    assert surplus(keys_of(rows, np.arange(7)), 2).tolist() == [False, False, False, False, True, False, True]
    assert surplus(np.empty(0, np.uint64)).tolist() == []


# Tombstones


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_vector_leaves_a_graphs_files_too_and_the_others_are_found(tmp_path: Path, kind: str) -> None:
    clock, vectors = ManualClock(), clustered(3_000, 0)
    shard = Shard(tmp_path, SPEC, clock, limits=small(kind, 100))
    shard.open()
    items = [item(n + 1, f"doc_{n}", vectors[n : n + 1], n + 1, ("all",)) for n in range(3_000)]
    shard.apply(Feed(items=tuple(items), upto=3_000, head=3_000))
    linked_up(shard)
    gone = np.arange(0, 3_000, 10)
    deleted = [FeedItem(seq=3_001 + n, op="delete", document_id=f"doc_{row}") for n, row in enumerate(gone)]
    shard.apply(Feed(items=tuple(deleted), upto=3_300, head=3_300))
    assert any(vectors[0].tobytes() in path.read_bytes() for path in tmp_path.iterdir())
    clock.advance(policy.ERASE_AFTER_S + 1)
    shard.keep()
    assert shard.figures()["linked"] == 3_000
    assert shard.figures()["dead"] == 0
    stored = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(vectors[row].tobytes() in content for row in gone for content in stored)
    kept = np.setdiff1d(np.arange(3_000), gone)
    guide.EF_ROWS = 1
    assert recall(shard, vectors, kept, "all") >= 0.95
    clock.advance(policy.ERASE_AFTER_S + 1)
    before = sorted(path.name for path in tmp_path.iterdir())
    shard.keep()
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "the same dead rows were erased again"
    again = Shard(tmp_path, SPEC, limits=small(kind, 100))
    assert again.open() == 3_300
    assert again.figures()["linked"] == 3_000
    assert again.figures()["dead"] == 0
    assert recall(again, vectors, kept, "all") >= 0.95


def test_a_graph_with_too_many_dead_rows_is_made_anew_and_one_with_too_few_rows_dropped(tmp_path: Path) -> None:
    vectors = clustered(2_000, 0)
    shard = fed(tmp_path, vectors, small("hnsw", 500), lambda _: ("all",))
    for seq, row in enumerate(range(0, 2_000, 3), start=2_001):
        shard.apply(Feed(items=(FeedItem(seq=seq, op="delete", document_id=f"doc_{row}"),), upto=seq, head=seq))
    kept = np.setdiff1d(np.arange(2_000), np.arange(0, 2_000, 3))
    shard.merge()
    assert (shard.figures()["linked"], shard.figures()["base"]) == (2_000, 2_000)
    linked_up(shard)
    assert (shard.figures()["linked"], shard.figures()["base"]) == (len(kept), len(kept))
    guide.EF_ROWS = 1
    assert recall(shard, vectors, kept, "all") >= 0.95
    for seq, row in enumerate(kept[200:], start=3_001):
        shard.apply(Feed(items=(FeedItem(seq=seq, op="delete", document_id=f"doc_{row}"),), upto=seq, head=seq))
    linked_up(shard)
    assert (shard.figures()["linked"], shard.figures()["base"]) == (0, 200)
    assert recall(shard, vectors, kept[:200], "all") == 1.0


# Beside everything else


def test_a_graph_is_made_while_rows_come_go_and_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes between the beginning of a graph and going over to it, every row is at its place."""
    vectors = clustered(6_000, 0)
    shard = fed(tmp_path, vectors[:2_000], small("sq8", 100), lambda _: ("all",))
    between = threading.Event()

    def slow(*arguments: Any) -> Any:
        graph = linked(*arguments)
        assert between.wait(30)
        return graph

    monkeypatch.setattr("actors.index.shard.linked", slow)
    items = [item(n + 1, f"doc_{n}", vectors[n : n + 1], n + 1, ("all",)) for n in range(2_000, 4_000)]
    shard.apply(Feed(items=tuple(items), upto=4_000, head=4_000))
    shard.merge()
    making = threading.Thread(target=shard.link)
    making.start()
    while not shard._pinned:
        making.join(0.01)
    seq = 4_000
    gone = np.arange(0, 4_000, 7)
    for row in gone:  # linked ones and ones that are being linked
        seq += 1
        shard.apply(Feed(items=(FeedItem(seq=seq, op="delete", document_id=f"doc_{row}"),), upto=seq, head=seq))
    more = [item(seq + n - 3_999, f"doc_{n}", vectors[n : n + 1], n + 1, ("all",)) for n in range(4_000, 6_000)]
    shard.apply(Feed(items=tuple(more), upto=more[-1].seq, head=more[-1].seq))
    shard.merge()
    shard.merge()
    between.set()
    making.join(30)
    assert shard.figures()["linked"] == 4_000
    kept = np.setdiff1d(np.arange(6_000), gone)
    guide.EF_ROWS = 1
    assert recall(shard, vectors, kept, "all") >= 0.95
    assert recall(shard, vectors, kept, "all", 200) >= 0.95
    monkeypatch.undo()
    linked_up(shard)
    assert recall(shard, vectors, kept, "all") >= 0.95


def test_a_shard_that_closes_does_not_wait_for_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(tmp_path, SPEC, limits=small("hnsw", 100))
    shard.open()
    vectors = clustered(4_000, 0)
    items = [item(n + 1, f"doc_{n}", vectors[n : n + 1], n + 1, ("all",)) for n in range(4_000)]
    shard.apply(Feed(items=tuple(items), upto=4_000, head=4_000))
    shard.merge()
    monkeypatch.setattr("actors.index.linking.BATCH_ROWS", 1)
    making = threading.Thread(target=shard.link)
    making.start()
    while not shard._pinned:
        making.join(0.01)
    shard.close()
    making.join(2)
    assert not making.is_alive()
    assert shard.figures()["linked"] == 0
    again = Shard(tmp_path, SPEC, limits=small("hnsw", 100))
    assert again.open() == 4_000
    assert not again.link() or again.figures()["linked"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_searches_go_on_while_rows_are_added_deleted_merged_and_linked(tmp_path: Path, kind: str) -> None:
    vectors = clustered(5_000, 0)
    shard = fed(tmp_path, vectors[:2_000], small(kind, 100), lambda _: ("all",))
    guide.EF_ROWS = 1
    stop, wrong = threading.Event(), list[str]()

    def ask() -> None:
        for n in range(1_000_000):
            query = clustered(1, n)[0]
            hits = shard.search(asked(query, "all"))
            if stop.is_set():
                return
            rows = np.array(hits.ids) - 1
            if len(rows) != 10 or not np.allclose(vectors[rows] @ query, hits.scores, atol=1e-5):
                wrong.append(f"{hits}")

    asking = [threading.Thread(target=ask) for _ in range(2)]
    linking = threading.Thread(target=lambda: [shard.link() for _ in iter(stop.is_set, True)])
    for thread in (*asking, linking):
        thread.start()
    seq = 2_000
    for n in range(2_000, 5_000):
        seq += 1
        shard.apply(Feed(items=(item(seq, f"doc_{n}", vectors[n : n + 1], n + 1, ("all",)),), upto=seq, head=seq))
        if n % 5 == 0:
            seq += 1
            shard.apply(Feed(items=(FeedItem(seq=seq, op="delete", document_id=f"doc_{n - 1_500}"),), upto=seq, head=seq))
        if n % 250 == 0:
            shard.merge()
    stop.set()
    for thread in (*asking, linking):
        thread.join(30)
    assert not wrong
    linked_up(shard)
    gone = np.arange(500, 3_500, 5)
    kept = np.setdiff1d(np.arange(5_000), gone)
    assert shard.figures()["vectors"] == len(kept)
    assert recall(shard, vectors, kept, "all") >= 0.95


# Files


@pytest.mark.parametrize(("kind", "what"), [("hnsw", "graph"), ("sq8", "graph"), ("sq8", "codes")])
@pytest.mark.parametrize("damage", ["a bit", "shorter", "missing"])
def test_a_damaged_graph_is_put_aside_and_made_again_from_the_base(tmp_path: Path, kind: str, what: str, damage: str) -> None:
    vectors = clustered(1_000, 0)
    shard = fed(tmp_path, vectors, small(kind, 100), lambda _: ("all",))
    shard.close()
    (path,) = tmp_path.glob(f"{what}-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(content if damage == "a bit" else content[:-100])
    again = Shard(tmp_path, SPEC, limits=small(kind, 100))
    assert again.open() == 1_000, "nothing has to be fetched again"
    assert again.figures()["linked"] == 0
    assert (tmp_path / "quarantine" / "reason.txt").read_text().startswith(path.name)
    assert recall(again, vectors, np.arange(1_000), "all") == 1.0
    linked_up(again)
    assert again.figures()["linked"] == 1_000
    assert Shard(tmp_path, SPEC).open() == 1_000


def test_the_first_format_is_still_read(tmp_path: Path) -> None:
    vectors = clustered(500, 0)
    fed(tmp_path, vectors, Limits(), lambda _: ("all",)).close()
    path = tmp_path / "manifest.json"
    body = json.loads(path.read_text())
    for name in ("digest", "graph", "codes", "linkable", "hollow"):
        del body[name]
    body["format"] = 1
    path.write_text(json.dumps({**body, "digest": snapshot._digest(body)}))
    again = Shard(tmp_path, SPEC, limits=small("hnsw", 100))
    assert again.open() == 500
    linked_up(again)
    assert again.figures()["linked"] == 500
    assert recall(again, vectors, np.arange(500), "all") >= 0.95


@pytest.mark.parametrize(("before", "after"), [("hnsw", "sq8"), ("sq8", "hnsw"), ("hnsw", "flat"), ("flat", "sq8")])
def test_another_kind_in_the_settings_is_gone_over_to(tmp_path: Path, before: str, after: str) -> None:
    vectors = clustered(1_000, 0)
    fed(tmp_path, vectors, small(before, 100), lambda _: ("all",)).close()
    again = Shard(tmp_path, SPEC, limits=small(after, 100))
    assert again.open() == 1_000
    assert again._sealed.kind == before
    while again.link():
        pass
    assert again._sealed.kind == after
    assert len(list(tmp_path.glob("codes-*"))) == (after == "sq8")
    assert recall(again, vectors, np.arange(1_000), "all") >= 0.95


def test_a_disk_that_fails_while_a_graph_is_written_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clustered(1_000, 0)
    shard = fed(tmp_path, vectors[:500], Limits(kind="flat"), lambda _: ("all",))
    shard.close()
    shard = Shard(tmp_path, SPEC, limits=small("sq8", 100))
    shard.open()
    before = {path.name for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise RuntimeError("write error: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(faiss, "write_index", full)
        with pytest.raises(OSError, match="No space"):
            shard.link()
    assert {path.name for path in tmp_path.iterdir()} == before
    assert recall(shard, vectors, np.arange(500), "all") == 1.0
    assert shard.link()
    assert shard.figures()["linked"] == 500


def test_the_kind_follows_rows_and_memory() -> None:
    limits = Limits(graph_rows=1_000, memory_bytes=4 * 512 * 10_000)
    assert [policy.base_kind(n, 512, limits) for n in (999, 1_000, 10_000, 10_001)] == ["flat", "hnsw", "hnsw", "sq8"]
    assert policy.base_kind(10**9, 512, replace(limits, kind="flat")) == "flat"
    assert policy.base_kind(999, 512, replace(limits, kind="sq8")) == "flat"


def test_shards_with_graphs_answer_together(tmp_path: Path) -> None:
    vectors, parts = clustered(4_000, 0), list[Shard]()
    for number in range(3):
        shard = Shard(tmp_path / str(number), replace(SPEC, number=number, shards=3), limits=small("sq8", 100))
        shard.open()
        items = [item(n + 1, f"doc_{n}", vectors[n : n + 1], n + 1, ("all",)) for n in range(4_000)]
        shard.apply(Feed(items=tuple(items), upto=4_000, head=4_000))
        linked_up(shard)
        parts.append(shard)
    guide.EF_ROWS = 1
    good = 0.0
    for query in clustered(50, 99):
        hits: list[ShardHits] = [shard.search(asked(query, "all")) for shard in parts]
        merged = sorted((s for each in hits for s in each.scores), reverse=True)[:10]
        good += np.mean(np.array(merged) >= np.sort(vectors @ query)[-10] - 1e-6) / 50
    assert sum(shard.figures()["linked"] for shard in parts) == 4_000
    assert good >= 0.95


def test_a_graph_whose_last_bytes_find_no_room_is_refused_and_no_file_of_it_left(tmp_path: Path) -> None:
    # FAISS's own writer closed the file without a look: the torn graph got a hash as if it were whole, and could not be read.
    vectors = unit_vectors(64, 1)
    graph = linked(vectors, np.arange(64), None, 0, lambda: True)
    write_graph(graph, tmp_path / "whole")
    (tmp_path / "torn").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_graph(graph, tmp_path / "torn")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert faiss.read_index(str(tmp_path / "whole"), faiss.IO_FLAG_SKIP_STORAGE).ntotal == 64
