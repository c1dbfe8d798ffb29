"""What is damaged or forged in a repository is found, named and never restored silently."""

import hashlib
import io
import random
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.backups import manifest as manifests
from actors.backups import pieces
from actors.backups.manifest import FileEntry, Manifest
from actors.backups.repository import Cut, Repository, Retention
from perenne.errors import BackupDamaged, NotFound, PerenneError, StorageFailed

PASSPHRASE = "geheim"
FILES = {"a": b"some words " * 30, "b": random.Random(1).randbytes(300), "c": b"", "d": bytes(range(20)) * 3}


def whole(path: Path, passphrase: str | None) -> tuple[Repository, str]:
    repository = Repository.open(str(path), passphrase, create=True)
    with repository.begin() as writer:
        for name, data in FILES.items():
            writer.add_file(name, io.BytesIO(data))
        return repository, writer.commit(Cut(kind="manual", notes={"why": "because"})).id


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "marks")


@pytest.fixture(scope="module", params=[None, PASSPHRASE], ids=["plain", "encrypted"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str | None]:
    folder = tmp_path_factory.mktemp("sound") / "r"
    return folder, whole(folder, request.param)[1], request.param


def looked_at(folder: Path, id: str, passphrase: str | None, scratch: Path) -> tuple[bool, list[str]]:
    """Whether a verification finds it whole, and what it names; on the way, that nothing wrong is restored."""
    repository = Repository.open(str(folder), passphrase)
    report = repository.verify(id)
    try:
        entries = repository.manifest(id).entries
    except PerenneError:
        assert not repository.list() or repository.damaged() or not report.ok
        entries = ()
    for entry in entries:
        target = scratch / "restored"
        target.write_bytes(b"as it was")
        try:
            repository.restore_file(entry, target)
        except BackupDamaged:
            assert target.read_bytes() == b"as it was"
            assert not report.ok
        else:
            assert target.read_bytes() == FILES[entry.name]
    assert sorted(path.name for path in scratch.iterdir()) == (["restored"] if entries else [])
    for left in scratch.iterdir():
        left.unlink()
    return report.ok, [finding.what for finding in report.findings]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 10**9), bit=st.integers(0, 7), which=st.integers(0, 10**6))
def test_any_flipped_bit_is_found(
    sound: tuple[Path, str, str | None], tmp_path: Path, which: int, where: int, bit: int
) -> None:
    folder, id, passphrase = sound
    there = objects(folder)
    path = there[which % len(there)]
    data = path.read_bytes()
    at = where % len(data)
    path.write_bytes(data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :])
    try:
        ok, named = looked_at(folder, id, passphrase, tmp_path)
        assert not ok
        assert named == [str(path.relative_to(folder))]
    finally:
        path.write_bytes(data)


def test_every_cut_and_every_loss_is_found(sound: tuple[Path, str, str | None], tmp_path: Path) -> None:
    folder, id, passphrase = sound
    for path in objects(folder):
        data = path.read_bytes()
        for kept in sorted({0, 1, 7, len(data) // 2, len(data) - 1}):
            path.write_bytes(data[:kept])
            assert looked_at(folder, id, passphrase, tmp_path) == (False, [str(path.relative_to(folder))])
        path.write_bytes(data + b"\0")
        assert not looked_at(folder, id, passphrase, tmp_path)[0]
        path.unlink()
        if path.parent.name == "manifests":
            with pytest.raises(NotFound):
                Repository.open(str(folder), passphrase).verify(id)
        else:
            assert looked_at(folder, id, passphrase, tmp_path) == (False, [str(path.relative_to(folder))])
            assert Repository.open(str(folder), passphrase).verify(id, read_data=False).ok is False
        path.write_bytes(data)
    assert looked_at(folder, id, passphrase, tmp_path) == (True, [])


def test_one_object_cannot_stand_in_for_another(sound: tuple[Path, str, str | None], tmp_path: Path) -> None:
    folder, id, passphrase = sound
    first, second = [path for path in objects(folder) if path.parent.parent.name == "pieces"][:2]
    data = first.read_bytes()
    shutil.copy(second, first)
    try:
        assert looked_at(folder, id, passphrase, tmp_path) == (False, [str(first.relative_to(folder))])
    finally:
        first.write_bytes(data)


def test_what_is_damaged_is_set_aside_and_healed_by_the_next_backup(tmp_path: Path) -> None:
    for passphrase in (None, PASSPHRASE):
        folder = tmp_path / f"{passphrase}"
        repository, id = whole(folder, passphrase)
        piece = next(path for path in objects(folder) if path.parent.parent.name == "pieces")
        piece.write_bytes(b"rot")
        (folder / "repository.json").write_bytes(b"rot")
        report = repository.verify(id)
        assert {finding.what for finding in report.findings} == {str(piece.relative_to(folder)), "repository.json"}
        assert next(finding.file for finding in report.findings if finding.what.startswith("pieces/")) in FILES
        assert repository.mend(report) == 1
        assert [finding.reason for finding in repository.verify(id).findings] == ["it is missing"]
        with repository.begin() as writer:
            for name, data in FILES.items():
                writer.add_file(name, io.BytesIO(data))
            writer.commit(Cut(kind="manual"))
        assert repository.verify(id).ok
        assert not repository.prune(Retention()).skipped
        assert not list((folder / "damaged").iterdir())


def test_a_damaged_manifest_holds_up_the_clean_up_until_it_is_deleted(tmp_path: Path) -> None:
    repository, id = whole(tmp_path / "r", None)
    _, other = whole(tmp_path / "r", None)
    path = tmp_path / "r" / "manifests" / id
    path.write_bytes(path.read_bytes()[:-1])
    assert {summary.id for summary in repository.list()} == {id, other}  # its head is whole
    assert "can't be mended" in repository.prune(Retention()).skipped
    path.write_bytes(b"")
    assert [damaged.id for damaged in repository.damaged()] == [id]
    assert repository.verify(other).ok
    assert not repository.verify(id).ok
    assert repository.delete(id).skipped == ""
    assert repository.damaged() == []
    assert repository.verify(other).ok


def test_a_target_that_cannot_be_read_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, id = whole(tmp_path / "r", None)
    read = repository._storage.read

    def broken(name: str, limit: int, head: bool = False) -> bytes:
        if name.startswith("pieces/"):
            raise StorageFailed("the backup's target r: Input/output error")
        return read(name, limit, head)

    monkeypatch.setattr(repository._storage, "read", broken)
    report = repository.verify(id)
    assert report.files_damaged == 3  # the empty file needs none
    assert all("Input/output error" in finding.reason for finding in report.findings)


SOUND = FileEntry("a", 1, "0" * 64, ("1" * 64,))
HOSTILE: dict[str, Any] = {
    "a name that climbs": [["../../etc/passwd", 1, "0" * 64, False, ["1" * 64]]],
    "an absolute name": [["/etc/passwd", 1, "0" * 64, False, ["1" * 64]]],
    "a name that is no text": [[7, 1, "0" * 64, False, ["1" * 64]]],
    "a negative size": [["a", -1, "0" * 64, False, []]],
    "a size that its pieces can't have": [["a", 1 << 40, "0" * 64, False, ["1" * 64]]],
    "a size that is true": [["a", True, "0" * 64, False, ["1" * 64]]],
    "a size with a point": [["a", 1.0, "0" * 64, False, ["1" * 64]]],
    "a piece that is a path": [["a", 1, "0" * 64, False, ["../" + "1" * 61]]],
    "a hash that is none": [["a", 1, "0" * 63, False, ["1" * 64]]],
    "a name twice": [["a", 1, "0" * 64, False, ["1" * 64]]] * 2,
    "a row that is too short": [["a", 1]],
    "no rows": 7,
    "an object": {"a": 1},
}


def forged(repository: Repository, body: bytes, **about: Any) -> str:
    """A manifest with a right checksum around whatever it is to hold."""
    id = "20261126T083000123Z-0a1b2c3d"
    seal = repository._seal
    closed = seal.close(f"manifest {id} files", body)
    head = {
        "id": id,
        "ordinal": 1,
        "created_at": 0.0,
        "cut": {"kind": "", "version": "", "database": "", "revision": "", "origin": "", "seq": 0, "counts": {}, "notes": {}},
        "files": 1,
        "bytes_total": 1,
        "bytes_new": 0,
        "bytes_stored": 0,
        "took_s": 0.0,
        "body_sha256": hashlib.sha256(closed).hexdigest(),
        **about,
    }
    sealed = seal.close(f"manifest {id}", orjson.dumps(head))
    repository._storage.write(f"manifests/{id}", b"PRNB1\n" + struct.pack(">I", len(sealed)) + sealed + closed)
    return id


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lists_of_files_are_refused(name: str, tmp_path: Path) -> None:
    repository = Repository.open(str(tmp_path / "r"), create=True)
    id = forged(repository, pieces.compress(orjson.dumps(HOSTILE[name])))
    with pytest.raises(BackupDamaged, match=id):
        repository.manifest(id)
    assert not repository.verify(id).ok


def test_the_forged_manifest_is_sound_but_for_what_the_cases_change(tmp_path: Path) -> None:
    repository = Repository.open(str(tmp_path / "r"), create=True)
    id = forged(repository, pieces.compress(orjson.dumps([["a", 1, "0" * 64, False, ["1" * 64]]])))
    assert repository.manifest(id).entries == (SOUND,)
    assert [finding.reason for finding in repository.verify(id).findings] == ["it is missing"]


@pytest.mark.parametrize(
    "about",
    [
        {"ordinal": -1},
        {"ordinal": 1 << 63},
        {"created_at": "yesterday"},
        {"created_at": 1e300},
        {"files": 2},
        {"bytes_total": 5},
        {"cut": None},
        {"cut": {}},
        {"id": "20261126T083000123Z-ffffffff"},
        {"body_sha256": "0" * 64},
    ],
    ids=str,
)
def test_hostile_heads_are_refused(about: dict[str, Any], tmp_path: Path) -> None:
    repository = Repository.open(str(tmp_path / "r"), create=True)
    id = forged(repository, pieces.compress(orjson.dumps([["a", 1, "0" * 64, False, ["1" * 64]]])), **about)
    with pytest.raises(BackupDamaged):
        repository.manifest(id)
    assert not repository.verify(id).ok


@pytest.mark.parametrize(
    "body",
    [
        b"\1" + zstandard.compress(bytes(manifests.BODY_MOST_BYTES + 1)),
        b"\1" + zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 20)),
        b"\1" + zstandard.compress(b"[" * 1_000_000),
        b"\0" + b"[" * 100_000,
        b"\0[1e999]",
        b"\0[" + b"9" * 100_000 + b"]",
        b"\2[]",
        b"",
        b"\1",
        b"\1" + zstandard.compress(b"[]") + b"more",
    ],
    ids=[
        "bomb",
        "bomb of unknown size",
        "deep",
        "deep raw",
        "infinite",
        "long number",
        "unknown",
        "nothing",
        "no frame",
        "more",
    ],
)
def test_bombs_are_refused(body: bytes, tmp_path: Path) -> None:
    repository = Repository.open(str(tmp_path / "r"), create=True)
    id = forged(repository, body)
    with pytest.raises(BackupDamaged):
        repository.manifest(id)


def test_a_file_whose_pieces_hold_more_or_other_than_it_says_is_not_restored(tmp_path: Path) -> None:
    repository, id = whole(tmp_path / "r", None)
    entry = repository.manifest(id).entries[0]
    for wrong in (
        replace(entry, size=entry.size - 1),
        replace(entry, size=entry.size + 1),
        replace(entry, sha256="0" * 64),
        replace(entry, listed=True),  # its bytes are no list
        replace(entry, pieces=entry.pieces * 2),
        replace(entry, pieces=()),
    ):
        with pytest.raises(BackupDamaged):
            repository.restore_file(wrong, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_manifest_of_too_many_notes_is_refused_before_it_is_written(tmp_path: Path) -> None:
    repository = Repository.open(str(tmp_path / "r"), create=True)
    with repository.begin() as writer, pytest.raises(PerenneError, match="counts and notes"):
        writer.commit(Cut(kind="manual", notes={"a": "x" * 70_000}))
    assert repository.list() == []


def test_what_is_encoded_is_decoded(tmp_path: Path) -> None:
    repository, id = whole(tmp_path / "r", PASSPHRASE)
    manifest = repository.manifest(id)
    again: Manifest = manifests.decode(id, manifests.encode(manifest, repository._seal), repository._seal)
    assert again == manifest
