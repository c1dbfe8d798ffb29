"""Removes the pieces that no backup names."""

from dataclasses import dataclass

from actors.backups import manifest as manifests
from actors.backups import pieces, reading
from actors.backups.marks import Marks
from actors.backups.pieces import Pieces
from actors.backups.sealing import Seal
from actors.backups.storage import Storage
from perenne.errors import BackupDamaged

LOOK_EVERY = 200  # removals between two looks at whether our mark stands
DAMAGED = "damaged"  # the folder of what was set aside


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    pieces: int = 0
    bytes_freed: int = 0
    skipped: str = ""  # why nothing, or not all, was removed


def sweep(storage: Storage, seal: Seal, marks: Marks) -> Swept:
    """Remove what no backup names. Killed at any point it leaves every listed backup whole, and the next one goes on. Nothing
    is removed while a backup is being written or read, or while a manifest is damaged: what it names can't be known."""
    held = marks.take("sweep")
    try:
        others = marks.others(held)
        if others:
            return Swept(
                skipped=f"{len(others)} at work in the repository ({', '.join(sorted({mark.kind for mark in others}))})"
            )
        store = Pieces(storage, seal)
        try:
            named = _named(storage, seal, store)
        except BackupDamaged as error:
            return Swept(skipped=f"{error}: verify the backups; delete the one that can't be mended")
        removed = freed = 0
        for piece_id, size in list(store.sizes()):
            if bytes.fromhex(piece_id) in named:
                continue
            if removed % LOOK_EVERY == 0 and not held.stands():
                return Swept(removed, freed, "another process took this clean-up for dead")
            storage.remove(pieces.object_name(piece_id))
            removed, freed = removed + 1, freed + size
        for name, size in list(storage.sizes(DAMAGED)):
            storage.remove(name)
            freed += size
        storage.clear_incoming()
        marks.keep_reserve()
        return Swept(removed, freed)
    finally:
        held.release()


def _named(storage: Storage, seal: Seal, store: Pieces) -> set[bytes]:
    named: set[bytes] = set()
    for name, _ in list(storage.sizes(manifests.FOLDER)):
        manifest_id = manifests.id_of(name)
        if manifest_id is None:
            continue
        try:
            data = storage.read(name, manifests.OBJECT_MOST_BYTES)
        except FileNotFoundError:  # deleted just now
            continue
        manifest = manifests.decode(manifest_id, data, seal)
        named.update(bytes.fromhex(piece_id) for piece_id in reading.named_by(manifest, store))
    return named
