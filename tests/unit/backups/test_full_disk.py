"""A target that fills or fails: nothing half-written is listed, what is listed stays whole, and a prune makes room."""

import errno
import io
import os
import random
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from actors.backups.repository import Cut, Repository, Retention
from perenne.errors import StorageFailed

ROOT = Path(__file__).parents[3]
ONE = Retention(hourly=0, daily=0, weekly=0, monthly=0, last=1)

DRIVER = textwrap.dedent(
    """
    import io, os, random, sys
    from pathlib import Path
    from actors.backups.repository import Cut, Repository, Retention
    from perenne.errors import StorageFailed

    target = Path(sys.argv[1])
    repository = Repository.open(str(target / "r"), None, create=True)
    one = Retention(hourly=0, daily=0, weekly=0, monthly=0, last=1)

    def backup(seed, size):
        with repository.begin() as writer:
            writer.add_file("a", io.BytesIO(random.Random(seed).randbytes(size)))
            return writer.commit(Cut(kind="manual")).id

    first, second = backup(1, 1_000_000), backup(2, 1_000_000)
    try:
        backup(3, 8_000_000)
    except StorageFailed as error:
        print(error)
    else:
        raise SystemExit("a disk of 4 MB took 10 MB")
    assert {summary.id for summary in repository.list()} == {first, second}
    filler = os.open(target / "filler", os.O_WRONLY | os.O_CREAT)
    for size in (65536, 4096, 1):  # to the last byte
        try:
            while True:
                os.write(filler, bytes(size))
        except OSError:
            pass
    assert repository.verify(second).ok, repository.verify(second)
    pruned = repository.prune(one)
    assert pruned.removed == (first,) and pruned.skipped == "" and pruned.bytes_freed > 1_000_000, pruned
    third = backup(4, 500_000)
    assert repository.verify(second).ok and repository.verify(third).ok
    assert not list((target / "r" / "incoming").iterdir())
    assert (target / "r" / "marks" / "reserve").stat().st_size == 65536
    """
)


def test_a_disk_that_fills_loses_nothing_and_can_be_pruned(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("the kernel allows no user and mount namespaces; the same over fsspec is tested below")
    script = 'mount -t tmpfs -o size=4m,mode=700 none "$1" && exec "$2" -c "$3" "$1"'
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, DRIVER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No space left on device" in ended.stdout


def written(repository: Repository, seed: int, size: int) -> str:
    with repository.begin() as writer:
        writer.add_file("a", io.BytesIO(random.Random(seed).randbytes(size)))
        return writer.commit(Cut(kind="manual")).id


def test_a_url_whose_room_is_used_up_loses_nothing_and_can_be_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository.open(f"memory://{uuid.uuid4().hex}", None, create=True)
    ids = [written(repository, seed, 400_000) for seed in (1, 2)]
    room = [1_000_000]
    pipe_file = MemoryFileSystem.pipe_file

    def bounded(self: MemoryFileSystem, path: str, value: bytes, **options: Any) -> Any:
        if len(value) > room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= len(value)
        return pipe_file(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", bounded)
    with pytest.raises(StorageFailed, match="No space left"):
        written(repository, 3, 2_000_000)
    assert {summary.id for summary in repository.list()} == set(ids)
    assert all(repository.verify(id).ok for id in ids)
    pruned = repository.prune(ONE)
    assert (pruned.removed, pruned.skipped) == ((ids[0],), "")
    assert pruned.bytes_freed > 400_000
    room[0] = pruned.bytes_freed
    assert repository.verify(written(repository, 4, 300_000)).ok


def test_an_fsync_that_fails_once_lists_no_backup_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed fsync leaves in the page cache may look written and be lost: nothing of it may be taken for stored."""
    repository = Repository.open(str(tmp_path / "r"), None, create=True)
    first = written(repository, 1, 200_000)
    fsync, failed, calls = os.fsync, [0], [0]

    def failing(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == at:
            failed[0] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    at, whole, said = 0, list[str](), set[str]()
    for at in range(1, 100):
        calls[0], before = 0, failed[0]
        try:
            whole.append(written(repository, 100 + at, 200_000))
        except StorageFailed as error:
            said.add(str(error).rpartition(": ")[2])
        if failed[0] == before:
            break
    assert failed[0] >= 10
    assert said == {"Input/output error"}
    listed = {summary.id for summary in repository.list()}
    assert listed == {first, *whole}
    assert all(repository.verify(id).ok for id in listed)
