"""What is on disk is believed only when every byte of it is right; a death at any moment costs a replay at most."""

import json
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from index_model import DIMENSION, Model, unit_vectors

from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from perenne.messages.search import ShardQuery

SPEC = ShardSpec("space", "model")
QUERY = ShardQuery(vector=unit_vectors(1, 5).tobytes(), k=200, user_id="u0", project_ids=("p0",))


def a_model(documents: int = 40, rows: int = 10) -> Model:
    model = Model()
    for n in range(documents):
        vectors = unit_vectors(rows, n)
        model.write("set", f"doc_{n % 30}", project_ids=("p0",), languages=["en"] * rows, vectors=vectors)
    return model


def snapshotted(folder: Path) -> Model:
    """A folder with a base, a tail and tombstones."""
    model = a_model()
    shard = Shard(folder, SPEC)
    shard.open()
    shard.apply(model.feed(0, 33))
    shard.merge()
    shard.apply(model.feed(shard.applied))
    shard.close()
    return model


def test_a_restart_replays_nothing_after_a_clean_close(tmp_path: Path) -> None:
    model = snapshotted(tmp_path)
    shard = Shard(tmp_path, SPEC)
    assert shard.open() == model.seq
    assert shard.origin == model.origin
    assert shard.figures()["base"] > 0 < shard.figures()["tail"]
    assert shard.figures()["dead"] > 0
    assert shard.search(QUERY) == model.search(QUERY)


@pytest.mark.parametrize("seed", range(25))
def test_one_flipped_bit_anywhere_is_noticed(tmp_path: Path, seed: int) -> None:
    model = snapshotted(tmp_path)
    chance = random.Random(seed)
    path = chance.choice(sorted(path for path in tmp_path.iterdir() if path.is_file()))
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    shard = Shard(tmp_path, SPEC)
    reached = shard.open()
    whole = path.name == "manifest.json" and reached == model.seq and json.loads(content)["seq"] == model.seq
    assert reached == 0 or whole  # white space of the manifest means nothing
    if not whole:
        assert (tmp_path / "quarantine" / path.name).read_bytes() == content
        assert "reason.txt" in {each.name for each in (tmp_path / "quarantine").iterdir()}
    shard.apply(model.feed(reached))
    assert shard.search(QUERY) == model.search(QUERY)


@pytest.mark.parametrize("kind", ["base", "state"])
@pytest.mark.parametrize("damage", ["missing", "shorter", "empty"])
def test_a_file_that_is_not_whole_is_noticed(tmp_path: Path, kind: str, damage: str) -> None:
    snapshotted(tmp_path)
    (path,) = tmp_path.glob(f"{kind}-*")
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-100] if damage == "shorter" else b"")
    assert Shard(tmp_path, SPEC).open() == 0


@pytest.mark.parametrize(
    "other", [replace(SPEC, space="x"), replace(SPEC, model="x"), replace(SPEC, shards=2), replace(SPEC, number=1)]
)
def test_a_snapshot_of_something_else_is_not_taken(tmp_path: Path, other: ShardSpec) -> None:
    snapshotted(tmp_path)
    assert Shard(tmp_path, other).open() == 0


def test_a_full_disk_leaves_everything_as_it_was_and_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = snapshotted(tmp_path)
    shard = Shard(tmp_path, SPEC)
    shard.open()
    model.write("set", "doc_0", project_ids=("p0",), languages=["en"] * 5, vectors=unit_vectors(5, 99))
    shard.apply(model.feed(shard.applied))
    before = {path.name for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        for keep in (shard.merge, shard.snapshot):
            with pytest.raises(OSError, match="No space"):
                keep()
    assert {path.name for path in tmp_path.iterdir()} == before
    assert shard.search(QUERY) == model.search(QUERY)
    assert Shard(tmp_path, SPEC).open() == model.seq - 1
    shard.snapshot()
    assert Shard(tmp_path, SPEC).open() == model.seq


def test_when_only_the_manifest_fails_the_next_snapshot_names_the_base_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge went over to its new base, then the manifest could not be written: the snapshot after it named the old base
    with the new one's columns."""
    model = snapshotted(tmp_path)
    shard = Shard(tmp_path, SPEC)
    shard.open()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("actors.index.snapshot.replace", full)
        with pytest.raises(OSError, match="No space"):
            shard.merge()
    assert shard.search(QUERY) == model.search(QUERY)
    shard.snapshot()
    again = Shard(tmp_path, SPEC)
    assert again.open() == model.seq
    assert again.search(QUERY) == model.search(QUERY)


CHILD = f"""
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from index_model import Model, unit_vectors
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
shard, model = Shard(Path(sys.argv[1]), ShardSpec("space", "model")), Model()
reached = shard.open()
n = 0
while True:
    n += 1
    document = f"doc_{{n % 40}}"
    if n % 7 == 0:
        model.write("delete", document)
    else:
        model.write("set", document, project_ids=("p0",), languages=["en"] * 50, vectors=unit_vectors(50, n, {DIMENSION}))
    if n > 40:
        shard.apply(model.feed(shard.applied))
        if n % 2:
            shard.merge()
        else:
            shard.snapshot()
        print(n, shard.applied, flush=True)
"""


@pytest.mark.parametrize("seed", range(5))
def test_killed_while_merging_or_snapshotting_the_next_start_answers_right(tmp_path: Path, seed: int) -> None:
    here = str(Path(__file__).parent)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), here], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    until, written, kept = random.Random(seed).randrange(2, 40), 0, 0
    for count, line in enumerate(child.stdout):
        written, kept = map(int, line.split())
        if count >= until:
            child.send_signal(signal.SIGKILL)
            break
    # The child runs ahead of its reader on a busy machine: what it still said before it died counts, but for a torn last line.
    for line in child.stdout.read().splitlines(keepends=True):
        if line.endswith("\n"):
            written, kept = map(int, line.split())
    child.wait(30)
    model = Model()
    for n in range(1, written + 30):
        document = f"doc_{n % 40}"
        if n % 7 == 0:
            model.write("delete", document)
        else:
            model.write("set", document, project_ids=("p0",), languages=["en"] * 50, vectors=unit_vectors(50, n))
    shard = Shard(tmp_path, SPEC)
    reached = shard.open()
    assert reached >= kept, "a published snapshot was lost"
    assert not (tmp_path / "quarantine").exists()
    shard.apply(model.feed(reached))
    assert shard.search(QUERY) == model.search(QUERY)
    names = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert names == {"base", "state", "manifest.json"}
    assert len(list(tmp_path.iterdir())) == 3
