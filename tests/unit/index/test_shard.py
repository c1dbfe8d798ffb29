"""A shard against the plain model: whatever happens to it, it answers exactly what looking at everything answers."""

import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from index_model import DIMENSION, Model, some_change, some_query, unit_vectors

from actors.index import policy
from actors.index.sealed import FlatBase, write_flat
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from perenne.clock import ManualClock
from perenne.errors import InvalidRequest
from perenne.messages.search import Feed, FeedItem, ShardHits, ShardQuery

SPEC = ShardSpec("space", "model")
DOCUMENTS = [f"doc_{n}" for n in range(12)]


def all_of(**over: object) -> ShardQuery:
    query = ShardQuery(vector=unit_vectors(1, 5).tobytes(), k=200, user_id="u0", project_ids=("p0",))
    return replace(query, **over)  # type: ignore[arg-type]


def filled(folder: Path, documents: int = 30, rows: int = 10) -> tuple[Shard, Model]:
    shard, model = Shard(folder, SPEC), Model()
    shard.open()
    for n in range(documents):
        vectors = unit_vectors(rows, n)
        model.write("set", f"doc_{n}", project_ids=("p0",), languages=["en"] * rows, vectors=vectors)
    shard.apply(model.feed(0))
    return shard, model


class ShardLives(RuleBasedStateMachine):
    """Changes, merges, snapshots, restarts and deaths in any order."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shard"))
        self.chance = random.Random(seed)
        self.model = Model()
        self.shard = self.new_shard()
        self.shard.open()

    def new_shard(self) -> Shard:
        return Shard(self.folder, SPEC)

    @rule(changes=st.integers(1, 12))
    def change(self, changes: int) -> None:
        for _ in range(changes):
            some_change(self.model, self.chance, DOCUMENTS)
        self.catch_up()

    def catch_up(self) -> None:
        while self.shard.applied < self.model.seq:
            self.shard.apply(self.model.feed(self.shard.applied, self.chance.choice([1, 3, 100])))

    @rule()
    def again(self) -> None:
        self.shard.apply(self.model.feed(max(0, self.shard.applied - 5)))

    @rule()
    def merge(self) -> None:
        self.shard.merge()

    @rule()
    def snapshot(self) -> None:
        self.shard.snapshot()

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        if clean:
            self.shard.close()
        self.shard = self.new_shard()
        reached = self.shard.open()
        assert reached == self.shard.applied
        assert not clean or reached == self.model.seq or not self.model.items
        self.catch_up()

    @rule()
    def forget(self) -> None:
        self.shard.reset()
        assert self.shard.applied == 0
        self.catch_up()

    @invariant()
    def answers_exactly(self) -> None:
        if not hasattr(self, "shard"):
            return
        for _ in range(4):
            query = some_query(self.chance, DOCUMENTS)
            found = self.shard.search(query)
            assert found == replace(self.model.search(query), applied_seq=found.applied_seq)
            assert found.applied_seq == self.model.seq
        assert self.shard.figures()["vectors"] == len(self.model.passages)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


ShardLives.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestShardLives = ShardLives.TestCase


def test_equal_scores_come_by_id_and_none_is_lost_at_the_cut(tmp_path: Path) -> None:
    shard, model = Shard(tmp_path, SPEC), Model()
    shard.open()
    same = np.repeat(unit_vectors(1, 3), 500, axis=0)
    for n, part in enumerate(np.split(same, 5)):
        model.write("set", f"doc_{n}", project_ids=("p0",), languages=[None] * 100, vectors=part)
        shard.apply(model.feed(shard.applied))
        if n == 2:
            shard.merge()
    assert shard.search(all_of(k=130)).ids == tuple(range(1, 131))
    assert shard.search(all_of(k=130)) == model.search(all_of(k=130))


def test_the_base_file_is_byte_for_byte_what_faiss_writes(tmp_path: Path) -> None:
    vectors = unit_vectors(5_000, 1)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "theirs"))
    rows = np.arange(5_000)
    write_flat(tmp_path / "ours", DIMENSION, 5_000, [(vectors[:1234], rows[:1234]), (vectors[1234:], rows[:3766])])
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert np.array_equal(FlatBase(tmp_path / "ours", DIMENSION).vectors, vectors)
    with pytest.raises(ValueError, match="16"):
        FlatBase(tmp_path / "ours", DIMENSION * 2)


def test_a_search_begun_before_a_merge_ends_on_what_it_began_with(tmp_path: Path) -> None:
    shard, model = filled(tmp_path)
    shard.merge()
    parts = shard._parts()
    held = np.array(parts[0].vectors[:10])
    model.write("delete", "doc_0")
    shard.apply(model.feed(shard.applied))
    shard.merge()
    shard.merge()
    assert np.array_equal(parts[0].vectors[:10], held)
    assert shard.search(all_of()) == model.search(all_of())


def test_shards_together_answer_as_one(tmp_path: Path) -> None:
    _, model = filled(tmp_path / "whole")
    parts: list[ShardHits] = []
    for number in range(3):
        shard = Shard(tmp_path / str(number), ShardSpec("space", "model", number, 3))
        shard.open()
        shard.apply(model.feed(0))
        assert 0 < shard.figures()["documents"] < 30
        parts.append(shard.search(all_of(k=40)))
    merged = sorted((-s, n) for part in parts for n, s in zip(part.ids, part.scores, strict=True))[:40]
    assert tuple(n for _, n in merged) == model.search(all_of(k=40)).ids


@pytest.mark.parametrize(
    "query",
    [all_of(k=0), all_of(k=201), all_of(vector=b"\0" * 8), all_of(vector=np.full(DIMENSION, np.nan, "<f4").tobytes())],
)
def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, query: ShardQuery) -> None:
    shard, _ = filled(tmp_path)
    with pytest.raises(InvalidRequest):
        shard.search(query)


def test_an_empty_shard_answers_with_nothing_and_its_sequence(tmp_path: Path) -> None:
    shard = Shard(tmp_path, SPEC)
    assert shard.open() == 0
    shard.apply(Feed(items=(), upto=7, head=7))
    assert shard.search(all_of()) == ShardHits(ids=(), scores=(), applied_seq=7)
    shard.merge()
    shard.close()
    assert Shard(tmp_path, SPEC).open() in (0, 7)


def test_vectors_that_do_not_fit_are_left_out_and_do_not_stop_the_feed(tmp_path: Path) -> None:
    shard, model = filled(tmp_path)
    odd = FeedItem(
        seq=model.seq + 1, op="set", document_id="odd", user_id="u0", project_ids=("p0",), chunk_ids=(999,), vectors=b"\0" * 12
    )
    shard.apply(Feed(items=(odd,), upto=odd.seq, head=odd.seq))
    assert shard.figures()["refused"] == 1
    assert shard.search(all_of()).ids == model.search(all_of()).ids
    assert shard.applied == odd.seq


def test_a_deleted_vector_leaves_the_files_in_time(tmp_path: Path) -> None:
    clock = ManualClock()
    shard, model = Shard(tmp_path, SPEC, clock), Model()
    shard.open()
    secret = unit_vectors(1, 77)
    model.write("set", "doc_0", project_ids=("p0",), languages=["en"], vectors=secret)
    model.write("set", "doc_1", project_ids=("p0",), languages=["en"], vectors=unit_vectors(1, 78))
    shard.apply(model.feed(0))
    shard.merge()
    model.write("delete", "doc_0")
    shard.apply(model.feed(shard.applied))
    clock.advance(policy.ERASE_AFTER_S - 1)
    shard.keep()
    assert any(secret.tobytes() in path.read_bytes() for path in tmp_path.iterdir())
    clock.advance(2)
    shard.keep()
    assert not any(secret.tobytes() in path.read_bytes() for path in tmp_path.iterdir())
    assert shard.search(all_of()) == model.search(all_of())


@pytest.mark.parametrize(
    ("load", "merge"),
    [
        (dict(tail_rows=policy.TAIL_ROWS_MIN), True),
        (dict(tail_rows=policy.TAIL_ROWS_MIN - 1), False),
        (dict(tail_rows=policy.TAIL_ROWS_MIN, behind=True), False),
        (dict(tail_rows=policy.TAIL_ROWS_MAX, behind=True), True),
        (dict(tail_rows=policy.TAIL_ROWS_MIN, base_rows=100_000), False),
        (dict(tail_rows=policy.TAIL_ROWS_MAX, base_rows=10_000_000), True),
        (dict(base_rows=20_000, dead_rows=6_000), True),
        (dict(base_rows=20_000, dead_rows=100), False),
        (dict(base_rows=20_000, dead_rows=1, oldest_dead_s=policy.ERASE_AFTER_S), True),
    ],
)
def test_when_a_merge_is_worth_it(load: dict[str, int], merge: bool) -> None:
    zero = dict(base_rows=0, tail_rows=0, dead_rows=0, oldest_dead_s=0.0, rows_since_snapshot=0, change_age_s=0.0)
    assert policy.merge_due(policy.Load(**{**zero, **load})) is merge


def test_a_document_without_vectors_in_an_empty_shard_is_found_by_nobody_and_fails_nothing(tmp_path: Path) -> None:
    # Its owner was known and the dimension was not: the search multiplied vectors of no dimension by one of sixteen.
    shard = Shard(tmp_path, SPEC)
    shard.open()
    item = FeedItem(seq=1, op="set", document_id="d", user_id="ana", project_ids=("p",))
    shard.apply(Feed(items=(item,), upto=1, head=1))
    query = ShardQuery(vector=bytes(64), k=5, user_id="ana", project_ids=("p",))
    assert shard.search(query) == ShardHits(ids=(), scores=(), applied_seq=1)
