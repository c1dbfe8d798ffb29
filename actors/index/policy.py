"""What a shard decides without touching anything: which kind of base, when to merge, when to leave a snapshot."""

import hashlib
from dataclasses import dataclass
from typing import Literal

BaseKind = Literal["flat"]

TAIL_ROWS_MIN = 16_384  # below this a merge costs more than the tail does: 32 MB at 512 dimensions
TAIL_ROWS_MAX = 65_536  # the most that a search reads from RAM, and that a restart reads from a snapshot: 128 MB at 512
SNAPSHOT_ROWS = 4_096  # rows replayed after a death: a second or less
SNAPSHOT_AFTER_S = 60.0  # changes older than this are in a snapshot
ERASE_AFTER_S = 900.0  # a deleted passage's vector leaves the files within this
DEAD_SHARE_MAX = 0.25  # of all rows: each dead one still costs room, and filters look at it


@dataclass(frozen=True, slots=True)
class Load:
    """What the decisions look at. Rows count the dead ones too; ages are seconds, 0 when there is nothing of the kind."""

    base_rows: int
    tail_rows: int
    dead_rows: int
    oldest_dead_s: float
    rows_since_snapshot: int
    change_age_s: float
    behind: bool = False


def base_kind(rows: int) -> BaseKind:
    """Flat at every size so far: 8 ms for 100,000 rows of 512, exact, and its file is written in one pass."""
    del rows
    return "flat"


def merge_due(load: Load) -> bool:
    """Whether the tail and the tombstones are worth a new base. While catching up the tail may grow to its bound, so that a
    rebuild writes the base few times."""
    limit = TAIL_ROWS_MAX if load.behind else min(TAIL_ROWS_MAX, max(TAIL_ROWS_MIN, load.base_rows // 4))
    if load.tail_rows >= limit:
        return True
    if load.behind or load.dead_rows == 0:
        return False
    crowded = load.dead_rows > DEAD_SHARE_MAX * (load.base_rows + load.tail_rows) and load.dead_rows >= SNAPSHOT_ROWS
    return crowded or load.oldest_dead_s >= ERASE_AFTER_S


def snapshot_due(load: Load) -> bool:
    """Whether what a restart would replay is worth writing down."""
    return (
        load.rows_since_snapshot >= (TAIL_ROWS_MIN if load.behind else SNAPSHOT_ROWS) or load.change_age_s >= SNAPSHOT_AFTER_S
    )


def shard_of(document_id: str, shards: int) -> int:
    """The number of the shard that owns a document; the same in every process and version."""
    return int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big") % shards
