"""Pieces: what files are cut into, each kept once under a name made of its bytes."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from actors.backups.sealing import Seal
from actors.backups.storage import Storage
from perenne.errors import BackupDamaged

FOLDER = "pieces"
PIECE_BYTES = 64 << 10  # where files are cut; docs/adr/0020 says why there
PIECE_MOST_BYTES = 1 << 20  # a piece of more is refused, so that another size may come without a new format
ZSTD_LEVEL = 1  # 2 % larger than at 3, in three fifths of the time; docs/adr/0020
OBJECT_MOST_BYTES = PIECE_MOST_BYTES + 64  # codec and seal
ID = re.compile(r"[0-9a-f]{64}")
_RAW, _ZSTD = b"\0", b"\1"
_WORTH_IT = 0.97  # what doesn't shrink to less than this share is stored as it is


class Pieces:
    """The pieces of one repository. Any thread may call."""

    def __init__(self, storage: Storage, seal: Seal) -> None:
        self._storage, self._seal = storage, seal

    def id_of(self, data: bytes) -> str:
        """The name that these bytes have here."""
        return self._seal.piece_id(data)

    def put(self, piece_id: str, data: bytes) -> int:
        """Store it; the bytes that it takes. Its content is durable when this returns, its name once the folder is settled."""
        stored = self._seal.close(_label(piece_id), compress(data))
        self._storage.write(object_name(piece_id), stored)
        return len(stored)

    def get(self, piece_id: str) -> bytes:
        """Its bytes, checked. BackupDamaged when it is missing or not what it was; StorageFailed when the target can't be read."""
        name = object_name(piece_id)
        try:
            stored = self._storage.read(name, OBJECT_MOST_BYTES)
        except FileNotFoundError:
            raise BackupDamaged(name, "it is missing") from None
        try:
            data = expand(self._seal.open(_label(piece_id), stored), PIECE_MOST_BYTES, name)
        except BackupDamaged as error:
            raise BackupDamaged(name, error.reason) from None
        if self._seal.piece_id(data) != piece_id:
            raise BackupDamaged(name, "its bytes are not those of its name")
        return data

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Id and stored size of every piece that is there."""
        for name, size in self._storage.sizes(FOLDER):
            _, folder, rest = (*name.split("/"), "", "")[:3]
            if ID.fullmatch(folder + rest):
                yield folder + rest, size


def object_name(piece_id: str) -> str:
    """Where a piece lies."""
    return f"{FOLDER}/{piece_id[:2]}/{piece_id[2:]}"


def cut(file: BinaryIO) -> Iterator[bytes]:
    """The pieces of a stream, in order; all but the last have `PIECE_BYTES`, so that a file in which pages are written in
    place keeps all pieces but theirs."""
    while True:
        parts, wanted = [], PIECE_BYTES
        while wanted and (part := file.read(wanted)):  # a pipe gives less than it is asked for
            parts.append(part)
            wanted -= len(part)
        if parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        if wanted:
            return


def compress(data: bytes) -> bytes:
    """A byte that says how, and the bytes; as they are where zstd doesn't make them less."""
    import zstandard

    small = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
    return _ZSTD + small if len(small) < _WORTH_IT * len(data) else _RAW + data


def expand(data: bytes, limit: int, what: str) -> bytes:
    """What `compress` was given. BackupDamaged for anything else, and for what would be longer than `limit`."""
    import zstandard

    codec, body = data[:1], data[1:]
    if codec == _RAW and len(body) <= limit:
        return body
    if codec != _ZSTD:
        raise BackupDamaged(what, "it is packed in an unknown way or too long")
    try:
        size = zstandard.frame_content_size(body)
        if not 0 < size <= limit:
            raise BackupDamaged(what, f"it says that it holds {size} bytes; the limit is {limit}")
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BackupDamaged(what, f"it can't be unpacked: {error}") from None


def _label(piece_id: str) -> str:
    return f"piece {piece_id}"
