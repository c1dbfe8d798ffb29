"""Uploads over many requests: an offset that was told is on disk, whoever dies; quotas, claims, and what a sweep takes."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.resumable import ResumableUploads
from perenne import names
from perenne.errors import ChecksumMismatch, Conflict, NotFound, QuotaExceeded, StorageFailed, TooLarge
from perenne.ids import new_id
from perenne.messages.uploads import Upload
from perenne.settings import EdgeSettings

SETTINGS = EdgeSettings(upload_bytes_max=8 << 20, uploads_max=3, uploads_bytes_max=10_000, upload_kept_s=60.0)
DATA = bytes(range(256)) * 8


def begun(length: int = len(DATA), user: str = "ana", **more: object) -> Upload:
    facts = {"project_id": "prj_1", "filename": "a.bin", "title": "a.bin", "created_at": time.time(), **more}
    return Upload(id=new_id("upl"), user_id=user, length=length, **facts)  # type: ignore[arg-type]


class House:
    def __init__(self, root: Path, settings: EdgeSettings = SETTINGS) -> None:
        self.layout = Layout(root)
        self.files, self.uploads = BlobFiles(self.layout), ResumableUploads(self.layout, settings)
        self.files.open()
        self.uploads.open()

    def send(self, upload: Upload, start: int, end: int, claim: str = "clm_1", data: bytes = DATA) -> Upload:
        self.uploads.claim(upload.id, claim, start)
        self.uploads.write(upload.id, claim, start, data[start:end])
        return self.uploads.advance(upload.id, claim, end)

    def offset(self, upload: Upload) -> int:
        return self.uploads.look(upload.id, "ana").offset


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "blobs")


def test_a_file_in_three_requests_becomes_a_blob_and_asking_again_changes_nothing(house: House) -> None:
    sha = hashlib.sha256(DATA).hexdigest()
    upload = house.uploads.create(begun(sha256=sha))
    assert house.uploads.create(replace(upload, offset=0)) == upload
    for start, end in ((0, 700), (700, 701), (701, len(DATA))):
        assert house.offset(upload) == start
        assert house.send(upload, start, end).offset == end
    done = house.uploads.finish(upload.id)
    assert done.blob_hash == sha
    assert house.files.path(sha).read_bytes() == DATA
    assert house.uploads.finish(upload.id) == done == house.uploads.look(upload.id, "ana")
    assert house.uploads.unfinished("ana") == ()
    assert sorted(path.suffix for path in house.layout.resumable.iterdir()) == [".done"]


def test_bytes_count_only_once_they_were_advanced_over(house: House) -> None:
    upload = house.uploads.create(begun())
    house.uploads.claim(upload.id, "clm_1", 0)
    house.uploads.write(upload.id, "clm_1", 0, DATA[:500])
    assert house.offset(upload) == 0
    with pytest.raises(Conflict, match="got 0 so far"):
        house.uploads.finish(upload.id)
    with pytest.raises(Conflict, match="from offset 0"):
        house.uploads.claim(upload.id, "clm_2", 500)
    with pytest.raises(Conflict, match="got one at 501"):
        house.uploads.write(upload.id, "clm_1", 501, b"x")
    with pytest.raises(Conflict, match="got 501"):
        house.uploads.advance(upload.id, "clm_1", 501)
    house.uploads.advance(upload.id, "clm_1", 500)
    house.uploads.advance(upload.id, "clm_1", 500)  # its answer was lost
    assert house.offset(upload) == 500


def test_a_request_that_was_taken_over_writes_no_byte_more(house: House) -> None:
    upload = house.uploads.create(begun())
    house.uploads.claim(upload.id, "clm_old", 0)
    house.uploads.write(upload.id, "clm_old", 0, b"o" * 900)
    assert house.send(upload, 0, 300, claim="clm_new").offset == 300
    again = House(house.layout.root)  # the owner of files dies between them: it knows no less afterwards
    for late in (
        lambda: again.uploads.write(upload.id, "clm_old", 900, b"o"),
        lambda: again.uploads.advance(upload.id, "clm_old", 900),
    ):
        with pytest.raises(Conflict, match="another request"):
            late()
    again.send(upload, 300, len(DATA), claim="clm_new")
    assert again.files.path(again.uploads.finish(upload.id).blob_hash or "").read_bytes() == DATA


def test_bytes_over_the_length_and_a_file_over_the_limit_are_too_large(house: House) -> None:
    upload = house.uploads.create(begun(length=10))
    house.uploads.claim(upload.id, "clm_1", 0)
    for data in (b"x" * 11, b"x" * (names.BLOB_PIECE_BYTES + 1)):
        with pytest.raises(TooLarge):
            house.uploads.write(upload.id, "clm_1", 0, data)
    with pytest.raises(TooLarge):
        house.uploads.create(begun(length=(8 << 20) + 1))


def test_a_file_that_is_not_the_one_of_its_hash_is_dropped(house: House) -> None:
    upload = house.uploads.create(begun(sha256=hashlib.sha256(b"other").hexdigest()))
    house.send(upload, 0, len(DATA))
    with pytest.raises(ChecksumMismatch, match="send it again"):
        house.uploads.finish(upload.id)
    with pytest.raises(NotFound):
        house.uploads.look(upload.id, "ana")
    assert list(house.layout.resumable.iterdir()) == []
    assert list(house.layout.blobs()) == []


def test_an_upload_is_nobody_elses_and_its_id_is_never_a_path(house: House) -> None:
    upload = house.uploads.create(begun())
    for wrong in (lambda: house.uploads.look(upload.id, "bea"), lambda: house.uploads.look("../../key", "ana")):
        with pytest.raises(NotFound):
            wrong()
    assert house.uploads.unfinished("bea") == ()
    with pytest.raises(Conflict, match="another file"):
        house.uploads.create(replace(upload, filename="b.bin"))


def test_one_user_holds_so_many_unfinished_uploads_and_bytes_and_others_are_not_kept_out(house: House) -> None:
    held = [house.uploads.create(begun(length=5000)) for _ in range(2)]
    with pytest.raises(QuotaExceeded, match="10001 bytes"):
        house.uploads.create(begun(length=1))
    house.uploads.create(begun(length=5000, user="bea"))
    house.uploads.drop(held.pop().id)
    small = [house.uploads.create(begun(length=n)) for n in (0, 1)]
    with pytest.raises(QuotaExceeded, match="4 unfinished uploads; the limit is 3"):
        house.uploads.create(begun(length=1))
    house.uploads.finish(small[0].id)  # what has ended is not counted
    house.uploads.create(begun(length=1))


def test_what_waits_too_long_is_not_found_and_swept_with_what_a_death_left(tmp_path: Path) -> None:
    house = House(tmp_path / "blobs", SETTINGS.model_copy(update={"upload_kept_s": 0.2}))
    old, done = house.uploads.create(begun()), house.uploads.create(begun(length=0))
    house.uploads.finish(done.id)
    torn = house.layout.resumable / f"{new_id('upl')}.part"
    torn.write_bytes(b"x")
    time.sleep(0.25)
    with pytest.raises(NotFound):
        house.uploads.look(old.id, "ana")
    assert house.uploads.unfinished("ana") == ()
    young = house.uploads.create(begun())
    assert house.uploads.sweep() == 3
    assert {path.name.partition(".")[0] for path in house.layout.resumable.iterdir()} == {young.id}


def test_a_full_disk_is_said_before_a_byte_is_sent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 1, 512

    monkeypatch.setattr(os, "statvfs", lambda path: Full())
    with pytest.raises(StorageFailed, match="512 bytes free"):
        house.uploads.create(begun(length=513))


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from actors.blobs.layout import Layout
    from actors.blobs.resumable import ResumableUploads
    from perenne.settings import EdgeSettings
    uploads = ResumableUploads(Layout(Path(sys.argv[1])), EdgeSettings())
    uploads.claim(sys.argv[2], "clm_child", 0)
    for offset in range(0, 1 << 30, 100):
        uploads.write(sys.argv[2], "clm_child", offset, bytes([offset // 100 % 251]) * 100)
        print(uploads.advance(sys.argv[2], "clm_child", offset + 100).offset, flush=True)
""")


def test_an_offset_that_was_told_survives_kill_9_and_each_byte_before_it_is_right(house: House) -> None:
    house = House(house.layout.root, EdgeSettings())
    upload = house.uploads.create(begun(length=8 << 20))
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(house.layout.root), upload.id], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(20)][-1]
    child.send_signal(signal.SIGKILL)
    told = max([told, *map(int, child.stdout.read().split("\n")[:-1])])
    child.wait()
    offset = house.offset(upload)
    assert told <= offset <= told + 100
    written = house.layout.resumable_file(upload.id, "part").read_bytes()[:offset]
    assert written == b"".join(bytes([at // 100 % 251]) * 100 for at in range(0, offset, 100))


def test_bytes_are_pushed_to_the_disk_before_the_offset_that_counts_them(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 keeps the page cache, so that a missing fsync shows only here."""
    upload = house.uploads.create(begun())
    pushed: list[str] = []
    push = os.fdatasync

    def pushing(descriptor: int) -> None:
        pushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).suffix)
        push(descriptor)

    monkeypatch.setattr(os, "fdatasync", pushing)
    house.send(upload, 0, 100)
    assert pushed == [".part", ".mark"]

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(StorageFailed):
        house.send(upload, 100, 200)
    assert house.offset(upload) == 100
