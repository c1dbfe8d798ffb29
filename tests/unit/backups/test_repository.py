"""The repository of backups: the same bytes out, an unchanged piece once, nothing listed that isn't whole."""

import hashlib
import io
import os
import random
import stat
import sys
import threading
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.backups import marks, pieces
from actors.backups import repository as repositories
from actors.backups.repository import Cut, Repository, Retention
from perenne.clock import ManualClock
from perenne.errors import Busy, ConfigurationError, Conflict, InvalidRequest, NotFound, StorageFailed, WrongPassphrase

PASSPHRASE = "a lange Passphrase, ñandú"
CUT = Cut(kind="manual", version="0.1.0", database="sqlite", revision="0021", seq=42, origin="org_1", counts={"chunks": 3})


@pytest.fixture(params=["folder", "file url", "memory", "encrypted folder", "encrypted memory"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    target = {"folder": str(tmp_path / "r"), "file": f"file://{tmp_path}/r", "memory": f"memory://{uuid.uuid4().hex}/r"}
    kind: str = request.param
    passphrase = PASSPHRASE if kind.startswith("encrypted") else None
    return Repository.open(target[kind.removeprefix("encrypted ").split()[0]], passphrase, create=True)


@pytest.fixture
def plain(tmp_path: Path) -> Repository:
    return Repository.open(str(tmp_path / "plain"), None, create=True)


def backup(repository: Repository, files: dict[str, bytes], cut: Cut = CUT) -> str:
    with repository.begin() as writer:
        for name, data in files.items():
            writer.add_file(name, io.BytesIO(data))
        return writer.commit(cut).id


def restored(repository: Repository, id: str, folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in repository.manifest(id).entries:
        repository.restore_file(entry, folder / "one")
        found[entry.name] = (folder / "one").read_bytes()
    return found


def stored(repository: Repository, folder: str = "pieces") -> list[str]:
    return sorted(name for name, _ in repository._storage.sizes(folder))


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {
    "store/perenne.db": noise(3 * pieces.PIECE_BYTES + 17),
    "empty": b"",
    "one piece": noise(pieces.PIECE_BYTES, 2),
    "text": b"Perenne " * 100_000,
    "long": noise(20 * 4096, 3) * 64,  # more pieces than a manifest lists itself
    "unicode/ñandú 茶.pdf": b"x",
}


def test_what_is_backed_up_is_listed_verified_and_restored(repository: Repository, tmp_path: Path) -> None:
    moved: list[int] = []
    with repository.begin(moved.append) as writer:
        for name, data in FILES.items():
            path = tmp_path / "source"
            path.write_bytes(data)
            entry = writer.add_file(name, path)
            assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert repository.list() == []
        manifest = writer.commit(CUT)
    total = sum(map(len, FILES.values()))
    assert sum(moved) == total
    assert repository.list() == [manifest.summary]
    assert repository.manifest(manifest.id) == manifest
    assert (manifest.cut, manifest.summary.files, manifest.summary.bytes_total) == (CUT, len(FILES), total)
    assert manifest.entry("long") is not None
    assert manifest.entry("nothing") is None
    report = repository.verify(manifest.id)
    assert report.ok
    assert report.files_damaged == 0
    assert report.pieces == len(stored(repository))
    assert repository.verify(manifest.id, read_data=False).ok
    assert restored(repository, manifest.id, tmp_path) == FILES
    assert not list(repository._storage.sizes("marks")) or stored(repository, "marks") == [marks.RESERVE]


def test_a_long_file_keeps_its_list_of_pieces_in_pieces(plain: Repository) -> None:
    id = backup(plain, FILES)
    entries = {entry.name: entry for entry in plain.manifest(id).entries}
    assert entries["long"].listed
    assert len(entries["long"].pieces) == 1
    assert not entries["text"].listed


def test_an_unchanged_piece_is_stored_once(repository: Repository) -> None:
    first = noise(8 * pieces.PIECE_BYTES)
    backup(repository, {"a": first, "the same again": first})
    before = stored(repository)
    assert len(before) == 8
    changed = bytearray(first)
    changed[3 * pieces.PIECE_BYTES + 5] ^= 1
    id = backup(repository, {"a": bytes(changed)})
    assert len(set(stored(repository)) - set(before)) == 1
    summary = repository.manifest(id).summary
    assert (summary.bytes_new, summary.ordinal) == (pieces.PIECE_BYTES, 2)
    assert pieces.PIECE_BYTES < summary.bytes_stored < pieces.PIECE_BYTES + 100


def test_what_shrinks_is_stored_small(repository: Repository) -> None:
    id = backup(repository, {"text": b"".join(f"{n} green bottles\n".encode() for n in range(100_000))})
    summary = repository.manifest(id).summary
    assert summary.bytes_stored < summary.bytes_total / 4


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\\:\x7f", min_codepoint=32), min_size=1, max_size=40).filter(
            lambda name: name not in (".", "..")
        ),
        st.one_of(
            st.binary(max_size=200),
            st.builds(
                lambda seed, size, times: noise(size, seed) * times,
                st.integers(0, 2),
                st.sampled_from([1, 4095, pieces.PIECE_BYTES - 1, pieces.PIECE_BYTES, pieces.PIECE_BYTES + 1]),
                st.sampled_from([0, 1, 2, 18]),
            ),
        ),
        max_size=6,
    ),
    encrypted=st.booleans(),
)
def test_any_files_in_the_same_bytes_out(files: dict[str, bytes], encrypted: bool, tmp_path: Path) -> None:
    repository = _shared(tmp_path, encrypted)
    id = backup(repository, files)
    assert repository.verify(id).ok
    assert restored(repository, id, tmp_path) == files


def _shared(tmp_path: Path, encrypted: bool) -> Repository:
    name = f"shared-{encrypted}"
    return Repository.open(str(tmp_path / name), PASSPHRASE if encrypted else None, create=True)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a//b",
        "a/",
        ".",
        "a\\b",
        "c:evil",
        "nul\0",
        "line\nfeed",
        "x" * 300,
        "a/" * 600 + "a",
        "\ud800",
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(plain: Repository, name: str) -> None:
    with plain.begin() as writer, pytest.raises(InvalidRequest, match="relative file name"):
        writer.add_file(name, io.BytesIO(b"x"))


def test_a_name_comes_once_and_an_ended_writer_takes_nothing(plain: Repository) -> None:
    with plain.begin() as writer:
        writer.add_file("a", io.BytesIO(b"x"))
        with pytest.raises(InvalidRequest, match="already has"):
            writer.add_file("a", io.BytesIO(b"y"))
        writer.commit(CUT)
        for again in (lambda: writer.add_file("b", io.BytesIO(b"x")), lambda: writer.commit(CUT)):
            with pytest.raises(InvalidRequest, match="begin another"):
                again()
    assert len(plain.list()) == 1


def test_a_writer_that_is_left_lists_nothing_and_a_prune_cleans_up(repository: Repository) -> None:
    kept = backup(repository, {"a": b"kept"})
    with repository.begin() as writer:
        writer.add_file("b", io.BytesIO(noise(600_000)))
    assert [summary.id for summary in repository.list()] == [kept]
    pruned = repository.prune(Retention())
    assert (pruned.removed, pruned.kept, pruned.skipped) == ((), {kept: "last"}, "")
    assert pruned.bytes_freed > 0
    assert len(stored(repository)) == 1
    assert repository.verify(kept).ok


def test_a_writer_that_is_forgotten_gives_its_mark_back(plain: Repository) -> None:
    writer = plain.begin()
    writer.add_file("a", io.BytesIO(b"x"))
    assert plain.prune(Retention()).skipped
    del writer  # a thread of its own may have it for a moment longer
    until = time.monotonic() + 10.0
    while plain.prune(Retention()).skipped:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_writer_whose_last_is_in_a_thread_of_its_own_gives_its_mark_back(
    plain: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end waited for the thread that it was in, failed, and the mark stood."""
    writer = plain.begin()
    forgotten, put = threading.Event(), writer._pieces.put
    monkeypatch.setattr(writer._pieces, "put", lambda *given: (forgotten.wait(10.0), put(*given))[1])
    writer.add_file("a", io.BytesIO(b"x"))
    del writer
    assert plain.prune(Retention()).skipped
    forgotten.set()
    until = time.monotonic() + 10.0
    while plain.prune(Retention()).skipped:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_pruning_removes_what_no_rule_keeps_and_the_pieces_that_only_it_named(repository: Repository, tmp_path: Path) -> None:
    shared = noise(2 * pieces.PIECE_BYTES)
    ids = [backup(repository, {"shared": shared, "own": noise(5000, n)}) for n in range(4)]
    rules = Retention(hourly=0, daily=0, weekly=0, monthly=0, last=2)
    pruned = repository.prune(rules, spare={ids[0]})
    assert pruned.removed == (ids[1],)
    assert pruned.kept == {ids[0]: "spared", ids[2]: "last", ids[3]: "last"}
    assert pruned.pieces == 1
    for id, n in ((ids[0], 0), (ids[2], 2), (ids[3], 3)):
        assert repository.verify(id).ok
        assert restored(repository, id, tmp_path) == {"shared": shared, "own": noise(5000, n)}
    with pytest.raises(NotFound):
        repository.manifest(ids[1])
    assert repository.prune(rules, spare={ids[0]}).removed == ()


def test_deleting_one(repository: Repository) -> None:
    first, second = (backup(repository, {"a": noise(9, n)}) for n in (1, 2))
    deleted = repository.delete(first)
    assert (deleted.removed, deleted.pieces) == ((first,), 1)
    assert [summary.id for summary in repository.list()] == [second]
    with pytest.raises(NotFound):
        repository.delete(first)
    with pytest.raises(InvalidRequest, match="a backup's id"):
        repository.delete("../pieces")


def test_nothing_is_swept_while_a_backup_is_written_or_read(repository: Repository) -> None:
    old = backup(repository, {"a": noise(5000)})
    new = backup(repository, {"a": noise(5000, 2)})
    only_one = Retention(hourly=0, daily=0, weekly=0, monthly=0, last=1)
    with repository.begin() as writer:
        writer.add_file("again", io.BytesIO(noise(5000)))  # stored already: by the backup that goes now
        pruned = repository.prune(only_one)
        assert (pruned.removed, pruned.pieces) == ((old,), 0)
        assert "write" in pruned.skipped
        third = writer.commit(CUT).id
    assert repository.verify(third).ok
    with repository.reading():
        assert "read" in repository.prune(only_one).skipped
        assert repository.verify(third).ok
    assert repository.prune(only_one).pieces == 1
    assert [summary.id for summary in repository.list()] == [third]
    assert new not in {summary.id for summary in repository.list()}


def test_a_backup_waits_for_a_sweep_to_end(plain: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    held = plain._marks.take("sweep")
    monkeypatch.setattr(repositories, "SWEEP_WAIT_S", 0.2)
    with pytest.raises(Busy, match="clean-up"):
        plain.begin()
    monkeypatch.setattr(repositories, "SWEEP_WAIT_S", 30.0)
    threading.Timer(0.3, held.release).start()
    with plain.begin():
        pass


def test_two_writers_at_once_both_end_up_listed_and_whole(repository: Repository) -> None:
    data = [noise(5 * pieces.PIECE_BYTES, n) for n in (1, 2)]
    shared = noise(3 * pieces.PIECE_BYTES, 3)
    together = threading.Barrier(2)
    ids: list[str] = []

    def write(own: bytes) -> None:
        with repository.begin() as writer:
            together.wait(10)
            writer.add_file("shared", io.BytesIO(shared))
            writer.add_file("own", io.BytesIO(own))
            together.wait(10)
            ids.append(writer.commit(CUT).id)

    threads = [threading.Thread(target=write, args=(own,)) for own in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ids) == 2
    assert {summary.id for summary in repository.list()} == set(ids)
    assert all(repository.verify(id).ok for id in ids)
    repository.prune(Retention())
    assert all(repository.verify(id).ok for id in ids)


def test_a_writer_that_was_taken_for_dead_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine sees only the mark's age; the machine that was silent finds its mark gone."""
    here, there = ManualClock(), ManualClock()
    repository = Repository.open(str(tmp_path / "r"), create=True, clock=here)
    writer = repository.begin()
    writer.add_file("a", io.BytesIO(noise(5000)))
    monkeypatch.setattr(marks, "_machine", lambda: "another machine")
    other = Repository.open(str(tmp_path / "r"), clock=there)
    there.advance(marks.EXPIRY_S - 1)
    assert "write" in other.prune(Retention()).skipped
    there.advance(2)
    assert other.prune(Retention()).pieces == 1
    with pytest.raises(Conflict, match="make it again"):
        writer.commit(CUT)
    assert other.list() == []
    with repository.begin() as again:
        again.add_file("a", io.BytesIO(noise(5000)))
        assert repository.verify(again.commit(CUT).id).ok


def test_a_piece_that_was_removed_meanwhile_is_missed_before_the_backup_is_listed(repository: Repository) -> None:
    """A clean-up that was stopped for long and goes on holds no mark any more."""
    backup(repository, {"a": noise(5000)})
    with repository.begin() as writer:
        writer.add_file("a", io.BytesIO(noise(5000)))  # is there already
        repository._storage.remove(stored(repository)[0])
        with pytest.raises(Conflict, match="1 pieces were removed"):
            writer.commit(CUT)
    assert len(repository.list()) == 1


def test_a_mark_from_the_future_does_not_hold_up_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(4e9)
    with Repository.open(str(tmp_path / "r"), create=True, clock=clock).begin():
        monkeypatch.setattr(marks, "_machine", lambda: "another machine")
        assert Repository.open(str(tmp_path / "r"), clock=ManualClock(1.8e9)).prune(Retention()).skipped == ""


def test_backups_made_after_the_clock_was_set_back_are_the_latest(tmp_path: Path) -> None:
    clock = ManualClock(1.8e9)
    repository = Repository.open(str(tmp_path / "r"), create=True, clock=clock)
    first = backup(repository, {"a": b"1"})
    clock.advance(-86_400.0 * 365)
    second = backup(repository, {"a": b"2"})
    assert [summary.id for summary in repository.list()] == [second, first]
    assert second < first  # by name
    assert repository.prune(Retention(hourly=1, daily=1, weekly=1, monthly=1, last=1)).removed == (first,)


def test_the_wrong_passphrase_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    secret, plain = str(tmp_path / "secret"), str(tmp_path / "plain")
    id = backup(Repository.open(secret, PASSPHRASE, create=True), {"a": b"x"})
    Repository.open(plain, None, create=True)
    for target, passphrase, words in (
        (secret, "wrong", "is not that of"),
        (secret, "", "is not that of"),
        (secret, None, "its passphrase is needed"),
        (plain, PASSPHRASE, "is not encrypted"),
    ):
        for create in (True, False):
            with pytest.raises(WrongPassphrase, match=words):
                Repository.open(target, passphrase, create=create)
    assert Repository.open(secret, PASSPHRASE).verify(id).ok
    decomposed = "a lange Passphrase, n\u0303andu\u0301"  # the same keys on another keyboard
    assert Repository.open(secret, decomposed).verify(id).ok


def test_a_changed_passphrase_opens_what_is_there(tmp_path: Path) -> None:
    target = str(tmp_path / "r")
    repository = Repository.open(target, PASSPHRASE, create=True)
    id = backup(repository, {"a": noise(5000)})
    with pytest.raises(WrongPassphrase):
        repository.change_passphrase("wrong", "new one")
    repository.change_passphrase(PASSPHRASE, "new one")
    assert Repository.open(target, "new one").verify(id).ok
    with pytest.raises(WrongPassphrase):
        Repository.open(target, PASSPHRASE)


def test_nothing_of_an_encrypted_backup_can_be_read_in_the_target(tmp_path: Path) -> None:
    repository = Repository.open(str(tmp_path / "r"), PASSPHRASE, create=True)
    words = b"the secret of the rhea "
    id = backup(repository, {"secret-name.txt": words * 40}, Cut(kind="manual", notes={"secret": "note"}))
    there = [path for path in (tmp_path / "r").rglob("*") if path.is_file()]
    whole = b"".join(path.read_bytes() for path in there)
    assert not any(word in whole for word in (words, b"secret", b"note", PASSPHRASE.encode()))
    digest = hashlib.sha256(words * 40).hexdigest()
    assert not any(digest[2:] in str(path) for path in there)
    assert repository.manifest(id).cut.notes == {"secret": "note"}


def test_the_same_bytes_have_other_names_in_another_encrypted_repository(tmp_path: Path) -> None:
    both = [Repository.open(str(tmp_path / name), PASSPHRASE, create=True) for name in "ab"]
    for repository in both:
        backup(repository, {"a": b"x"})
    assert set(stored(both[0])).isdisjoint(stored(both[1]))


def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        backup(Repository.open(str(tmp_path / "r"), create=True), FILES)
    finally:
        os.umask(before)
    for path in (tmp_path / "r", *(tmp_path / "r").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_target_that_is_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"x")
    with pytest.raises(Conflict, match="neither empty nor a backup repository"):
        Repository.open(str(tmp_path / "photos"), create=True)
    with pytest.raises(NotFound):
        Repository.open(str(tmp_path / "photos"))
    with pytest.raises(NotFound):
        Repository.open(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(ConfigurationError, match="is a file: expected a folder"):
        Repository.open(str(tmp_path / "photos" / "me.jpg"))
    with pytest.raises(ConfigurationError, match="is empty"):
        Repository.open("")


def test_a_target_that_cannot_be_written_says_so() -> None:
    with pytest.raises(StorageFailed, match="/proc/backups"):
        Repository.open("/proc/backups", create=True)


@pytest.mark.parametrize(
    ("url", "package"),
    [("s3://key:secret@bucket/backups", "s3fs"), ("gs://bucket", "gcsfs"), ("sftp://me:secret@house/b", "paramiko")],
)
def test_a_url_whose_package_is_missing_says_what_to_install(url: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=f"pip install {package}") as raised:
        Repository.open(url, create=True)
    assert "secret" not in str(raised.value)


def test_a_url_of_an_unknown_kind_says_so() -> None:
    with pytest.raises(ConfigurationError, match="can't be used"):
        Repository.open("gopher://house/backups", create=True)


def test_memory_is_bounded_whatever_the_size(plain: Repository, tmp_path: Path) -> None:
    class Long(io.RawIOBase):
        """48 MiB that don't shrink; each piece another."""

        left, block = (48 << 20) // pieces.PIECE_BYTES, noise(pieces.PIECE_BYTES - 8)

        def read(self, size: int = -1) -> bytes:
            assert size == pieces.PIECE_BYTES
            self.left -= 1
            return b"" if self.left < 0 else self.left.to_bytes(8) + self.block

    plain.begin().abort()  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        with plain.begin() as writer:
            writer.add_file("long", Long())  # type: ignore[arg-type]
            manifest = writer.commit(CUT)
        assert plain.verify(manifest.id).ok
        plain.restore_file(manifest.entries[0], tmp_path / "long")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "long").stat().st_size == 48 << 20
    assert peak < 12 << 20


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    before = {thread.name for thread in threading.enumerate()}
    yield
    left = {t.name for t in threading.enumerate() if t.name.startswith("backup-writer")} - before
    assert not left
