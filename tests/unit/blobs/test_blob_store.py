"""The store of files: resumable uploads, content by hash, honest failures."""

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.uploads import UPLOADS_MAX, Uploads
from perenne import names
from perenne.errors import Busy, Conflict, InvalidRequest, NotFound, StorageFailed, TooLarge

LIMIT = 4 << 20


class House:
    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.files, self.uploads = BlobFiles(self.layout), Uploads(self.layout, LIMIT)
        self.files.open()

    def store(self, data: bytes) -> tuple[str, int]:
        upload = self.uploads.begin()
        for at in range(0, len(data), names.BLOB_PIECE_BYTES):
            self.uploads.append(upload, at, data[at : at + names.BLOB_PIECE_BYTES])
        return self.uploads.commit(upload)

    def there(self) -> list[str]:
        return [blob_hash for blob_hash, _ in self.layout.blobs()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "blobs")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_stored_file_lies_under_its_hash_and_reads_back_in_ranges(house: House) -> None:
    data = random.Random(1).randbytes(2 * names.BLOB_PIECE_BYTES + 17)
    blob_hash, size = house.store(data)
    assert (blob_hash, size) == (sha(data), len(data))
    path = house.files.path(blob_hash)
    assert path == house.layout.root / blob_hash[:2] / blob_hash[2:]
    assert path.read_bytes() == data
    assert house.files.stat(blob_hash) == size
    assert house.files.read(blob_hash, size - 5, 100) == data[-5:]
    assert house.files.read(blob_hash, 7, 11) == data[7:18]
    assert house.files.read(blob_hash, size + 1, 1) == b""


def test_the_same_piece_twice_is_harmless_and_a_gap_is_refused(house: House) -> None:
    upload = house.uploads.begin()
    assert house.uploads.append(upload, 0, b"hello ") == 6
    assert house.uploads.append(upload, 0, b"hello ") == 6
    assert house.uploads.append(upload, 3, b"lo world") == 11
    with pytest.raises(InvalidRequest, match="0 to 11"):
        house.uploads.append(upload, 12, b"x")
    with pytest.raises(InvalidRequest):
        house.uploads.append(upload, -1, b"x")
    assert house.uploads.commit(upload, sha(b"hello world")) == (sha(b"hello world"), 11)


def test_the_same_content_twice_is_stored_once_and_mends_a_damaged_copy(house: House) -> None:
    first, _ = house.store(b"the same")
    path = house.files.path(first)
    path.chmod(0o600)
    path.write_bytes(b"the sbme")
    assert house.files.verify(first) is False
    assert house.store(b"the same") == (first, 8)
    assert house.files.verify(first) is True
    assert house.there() == [first]


def test_committing_again_gives_the_first_answer_also_after_a_restart(house: House) -> None:
    upload = house.uploads.begin()
    house.uploads.append(upload, 0, b"once")
    answer = house.uploads.commit(upload)
    assert house.uploads.commit(upload) == answer
    assert House(house.layout.root).uploads.commit(upload, sha(b"once")) == answer
    with pytest.raises(NotFound):
        house.uploads.commit(upload, sha(b"other"))


def test_bytes_that_are_not_what_was_announced_are_not_stored(house: House) -> None:
    upload = house.uploads.begin()
    house.uploads.append(upload, 0, b"damaged on the way")
    with pytest.raises(Conflict):
        house.uploads.commit(upload, sha(b"as it was"))
    assert house.there() == []
    with pytest.raises(NotFound):
        house.uploads.append(upload, 0, b"again")


def test_an_upload_goes_on_after_a_restart(house: House) -> None:
    upload = house.uploads.begin()
    house.uploads.append(upload, 0, b"first ")
    again = House(house.layout.root)
    assert again.uploads.append(upload, 6, b"second") == 12
    assert again.uploads.commit(upload) == (sha(b"first second"), 12)


def test_bounds_are_said(house: House) -> None:
    upload = house.uploads.begin()
    with pytest.raises(TooLarge):
        house.uploads.append(upload, 0, bytes(names.BLOB_PIECE_BYTES + 1))
    for at in range(0, LIMIT, names.BLOB_PIECE_BYTES):
        house.uploads.append(upload, at, bytes(names.BLOB_PIECE_BYTES))
    with pytest.raises(TooLarge, match=str(LIMIT)):
        house.uploads.append(upload, LIMIT, b"x")
    with pytest.raises(TooLarge):
        house.files.read(sha(b""), 0, names.BLOB_PIECE_BYTES + 1)
    for _ in range(UPLOADS_MAX - 1):
        house.uploads.begin()
    with pytest.raises(Busy):
        house.uploads.begin()
    house.uploads.abort(upload)
    house.uploads.abort(upload)
    assert house.uploads.begin()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "", "upl_../x", "/etc/passwd", "a" * 63, "A" * 64, "upl_" + "0" * 32, "b" * 64]
)
def test_no_name_from_outside_becomes_a_path(house: House, name: str) -> None:
    assert house.files.stat(name) is None
    for call in (
        lambda: house.files.path(name),
        lambda: house.files.read(name, 0, 1),
        lambda: house.files.verify(name),
        lambda: house.uploads.append(name, 0, b"x"),
        lambda: house.uploads.commit(name),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_sweep_drops_what_is_stale_and_unnamed_and_spares_the_rest(house: House) -> None:
    named, unnamed, young = (house.store(data)[0] for data in (b"named", b"unnamed", b"young"))
    stale, active = house.uploads.begin(), house.uploads.begin()
    long_ago = time.time() - 1000
    for path in (house.layout.upload(stale), house.files.path(named), house.files.path(unnamed)):
        os.utime(path, (long_ago, long_ago))
    assert house.uploads.sweep(500) == 1
    assert house.uploads.append(active, 0, b"still here") == 10
    with pytest.raises(NotFound):
        house.uploads.append(stale, 0, b"gone")
    assert house.files.sweep({named}, 500) == (1, len(b"unnamed"))
    assert set(house.there()) == {named, young}


def _child(root: Path, body: str) -> subprocess.Popen[str]:
    code = f"""
import os, sys
from pathlib import Path
from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.uploads import Uploads
layout = Layout(Path({str(root)!r}))
files, uploads = BlobFiles(layout), Uploads(layout, {LIMIT})
files.open()
def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # in one piece: a kill may fall between two
    sys.stdout.flush()
{textwrap.dedent(body)}
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_full_disk_is_storage_failed_and_leaves_nothing_half_listed(house: House) -> None:
    """A limit on file size stands in for the full disk: the kernel takes a part of the piece and refuses the rest."""
    body = """
    import json, resource
    from perenne.errors import StorageFailed
    upload = uploads.begin()
    uploads.append(upload, 0, bytes(3000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    try:
        uploads.append(upload, 3000, b"x" * 4000)
    except StorageFailed as error:
        say(json.dumps([upload, str(error), layout.upload(upload).stat().st_size]))
    """
    child = _child(house.layout.root, body)
    out, _ = child.communicate(timeout=30)
    upload, words, length = json.loads(out)
    assert "storage failed" in words
    assert length == 3000
    assert house.there() == []
    assert house.uploads.append(upload, 3000, b"x" * 4000) == 7000
    assert house.uploads.commit(upload) == (sha(bytes(3000) + b"x" * 4000), 7000)


def test_a_failed_sync_is_storage_failed_and_never_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync the kernel drops the dirty pages: a second fsync would succeed and the bytes be gone."""
    upload = house.uploads.begin()
    house.uploads.append(upload, 0, b"precious")

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(StorageFailed, match="No space left"):
            house.uploads.commit(upload)
    assert house.there() == []
    with pytest.raises(NotFound):
        house.uploads.commit(upload)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_every_acknowledged_file_is_whole_and_every_upload_goes_on(house: House, seed: int) -> None:
    body = f"""
    import random
    chance = random.Random({seed})
    while True:
        data = chance.randbytes(chance.randrange(200_000))
        upload = uploads.begin()
        say("begun", upload)
        for at in range(0, len(data), 30_000):
            uploads.append(upload, at, data[at:at + 30_000])
            say("piece", upload, min(len(data), at + 30_000))
        say("done", *uploads.commit(upload), upload)
    """
    child = _child(house.layout.root, body)
    assert child.stdout is not None
    lines: list[list[str]] = []
    until = random.Random(seed).randrange(20, 80)
    for line in child.stdout:
        lines.append(line.split())
        if len(lines) == until:
            child.send_signal(signal.SIGKILL)
    child.wait(30)
    again = House(house.layout.root)
    done = [words for words in lines if words[0] == "done"]
    assert done or until < 25
    for _, blob_hash, size, upload in done:
        assert again.files.verify(blob_hash)
        assert again.files.stat(blob_hash) == int(size)
        assert again.uploads.commit(upload) == (blob_hash, int(size))
    for blob_hash in again.there():
        assert again.files.verify(blob_hash)
    finished = {words[3] for words in done}
    last = next((words[1] for words in reversed(lines) if words[0] == "begun" and words[1] not in finished), None)
    if last is not None and again.layout.upload(last).exists():
        acknowledged = max((int(words[2]) for words in lines if words[0] == "piece" and words[1] == last), default=0)
        assert again.uploads.append(last, acknowledged, b"tail") >= acknowledged + 4
        assert again.uploads.commit(last)[1] >= acknowledged + 4


def test_a_piece_for_which_no_file_can_be_opened_is_refused_in_our_words(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel's own error went to the caller, who could not tell that the same piece may be sent again.
    upload = house.uploads.begin()

    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", full)
        with pytest.raises(StorageFailed, match="Too many open files"):
            house.uploads.append(upload, 0, b"piece")
    assert house.uploads.append(upload, 0, b"piece") == 5
