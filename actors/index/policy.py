"""What a shard decides without touching anything: which kind of base, when to merge, when to leave a snapshot, what to link."""

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Literal, get_args

from perenne.settings import Settings

BaseKind = Literal["flat", "hnsw", "sq8"]
Step = Literal["nothing", "extend", "renew", "convert", "drop"]
KINDS: tuple[str, ...] = get_args(BaseKind)

GRAPH_ROWS = 131_072  # from here on a graph is worth it: below, every row is looked at in 10 ms at 512 dimensions, exactly
TAIL_ROWS_MIN = 16_384  # below this a merge costs more than the tail does: 32 MB at 512 dimensions
TAIL_ROWS_MAX = 65_536  # the most that a search reads from RAM, and that a restart reads from a snapshot: 128 MB at 512
SNAPSHOT_ROWS = 4_096  # rows replayed after a death: a second or less
SNAPSHOT_AFTER_S = 60.0  # changes older than this are in a snapshot
ERASE_AFTER_S = 900.0  # a deleted passage's vector leaves the files within this
DEAD_SHARE_MAX = 0.25  # of all rows: each dead one still costs room, and filters look at it
MEMORY_SHARE = 0.25  # of the machine's, for vectors, where nothing is set
_EXTENSIONS = 8  # a graph is extended when the rows beside it are this part of `graph_rows`


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner can set. `memory_bytes`: the vectors that one shard may want in memory."""

    kind: Literal["auto", "flat", "hnsw", "sq8"] = "auto"
    graph_rows: int = GRAPH_ROWS
    tail_rows: int = TAIL_ROWS_MIN
    memory_bytes: int = 2 << 30


USUAL = Limits()


def limits_of(settings: Settings) -> Limits:
    """What the owner's settings mean for one shard."""
    index = settings.index
    memory = index.memory_bytes
    if memory is None:
        memory = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * MEMORY_SHARE)
    return Limits(index.kind, index.graph_rows, index.tail_rows, memory // settings.shards)


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


def base_kind(rows: int, dimension: int, limits: Limits = USUAL) -> BaseKind:
    """Every row looked at while they are few, a graph over the vectors above that, and a graph over their bytes where the vectors
    do not fit the memory."""
    if limits.kind == "flat" or rows < limits.graph_rows:
        return "flat"
    return graph_kind(rows, dimension, limits)


def graph_kind(rows: int, dimension: int, limits: Limits = USUAL) -> BaseKind:
    """How a graph is walked."""
    if limits.kind in ("hnsw", "sq8"):
        return limits.kind
    return "hnsw" if 4 * rows * dimension <= limits.memory_bytes else "sq8"


def merge_due(load: Load, limits: Limits = USUAL) -> bool:
    """Whether the tail and the tombstones are worth a new base. While catching up the tail may grow to its bound, so that a
    rebuild writes the base few times."""
    most = limits.tail_rows * (TAIL_ROWS_MAX // TAIL_ROWS_MIN)
    limit = most if load.behind else min(most, max(limits.tail_rows, load.base_rows // 4))
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


def link_step(kind: BaseKind, linked: int, linkable: int, dead: int, dimension: int, limits: Limits = USUAL) -> Step:
    """What to do about the graph. `kind` and `linked`: what there is; `linkable`: rows that it could have; `dead`: of those linked."""
    roomy = replace(limits, graph_rows=limits.graph_rows // 2) if linked else limits
    wanted = base_kind(linkable - dead, dimension, roomy)
    if wanted == "flat":
        return "drop" if linked else "nothing"
    if dead > DEAD_SHARE_MAX * linked:
        return "renew"
    if linkable - linked >= max(1, limits.graph_rows // _EXTENSIONS):
        return "extend"
    return "convert" if linked and wanted != kind else "nothing"


def shard_of(document_id: str, shards: int) -> int:
    """The number of the shard that owns a document; the same in every process and version."""
    return int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big") % shards
