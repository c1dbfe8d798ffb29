"""What will happen, drawn from the seed before anything does: the same seed gives the same operations and the same faults."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

# Of a hundred operations. What makes a model write is rare: it takes seconds of both cores.
WEIGHTS = {
    "conversation": 22, "burst": 8, "document": 12, "search": 14, "text_search": 6, "lines": 5, "upload": 4, "ask": 7, "edit": 3,
    "stop": 3, "project": 4, "rename": 3, "drop_project": 2, "drop_document": 5, "drop_conversation": 5, "key": 3, "revoke": 3,
    "watched": 4, "unwatched": 2, "sample": 2,
}  # fmt: skip

CHILDREN = (
    "StoreWriter",
    "StoreReader",
    "BlobStore",
    "IndexShard",
    "RunHost",
    "IngestHost",
    "Notifier",
    "AlertCenter",
    "BackupKeeper",
)
REPLICAS = ("edge", "language", "embedding")
PROXIES = ("haproxy", "HAProxyManager", "ProxyActor")
PAUSED_S = (3.0, 9.0)  # how long what nobody has to replace is held still
FULL_S = (15.0, 22.0)  # how long the disk stays full: longer than an alert about it takes on a busy PC

# Every fault once a round, each round in an order of its own.
FAULTS = (
    *(("kill", each) for each in (*CHILDREN, *REPLICAS, *PROXIES, "gcs_server", "Supervisor")),
    *(("hang", each) for each in ("StoreWriter", "StoreReader", "IndexShard", "RunHost", "IngestHost", "BlobStore", "language")),
    *(("pause", each) for each in ("gcs_server", "haproxy", "edge", "Supervisor")),
    ("crash_loop", "IngestHost"),
    ("kill", "root"),
    ("kill", "everything"),
    ("stop", "instance"),
    ("fill", "disk"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s` seconds into the load, or once the one before is over; `for_s`: how long it lasts, where it ends by us."""

    number: int
    at_s: float
    kind: str
    target: str
    for_s: float

    @property
    def name(self) -> str:
        return f"{self.kind} {self.target}"


@dataclass(frozen=True, slots=True)
class Operation:
    """`share`: which of the client's things is meant, 0 ≤ share < 1; `draw`: the seed of what it is made of."""

    client: int
    number: int
    kind: str
    share: float
    draw: int


def faults(seed: int, seconds: float, gap_s: tuple[float, float] = (6.0, 18.0), only: tuple[str, ...] = ()) -> list[Fault]:
    """The faults of so many seconds; those of a longer run begin with them. `only`: names such as `kill StoreWriter`."""
    chance = random.Random(f"faults {seed}")
    deck, drawn, at_s = list[tuple[str, str]](), list[Fault](), 0.0
    known = [each for each in FAULTS if not only or " ".join(each) in only]
    if not known:
        raise ValueError(f"expected faults such as {' '.join(FAULTS[0])!r}, got {only}")
    while True:
        if not deck:
            deck = list(known)
            chance.shuffle(deck)
        kind, target = deck.pop()
        at_s += chance.uniform(*gap_s)
        for_s = chance.uniform(*(FULL_S if kind == "fill" else PAUSED_S))
        if at_s >= seconds:
            return drawn
        drawn.append(Fault(len(drawn) + 1, round(at_s, 2), kind, target, round(for_s, 2)))


def operations(seed: int, client: int, kinds: tuple[str, ...] = ()) -> Iterator[Operation]:
    """What one client does, without end. `kinds`: of these only."""
    chance = random.Random(f"client {client} of {seed}")
    known = {kind: weight for kind, weight in WEIGHTS.items() if not kinds or kind in kinds}
    if not known:
        raise ValueError(f"expected kinds among {', '.join(WEIGHTS)}, got {kinds}")
    number = 0
    while True:
        number += 1
        (kind,) = chance.choices(list(known), list(known.values()))
        yield Operation(client, number, kind, chance.random(), chance.getrandbits(48))


def fingerprint(seed: int, clients: int, kinds: tuple[str, ...] = (), many: int = 1000) -> str:
    """Of the first operations of every client: two runs with the same one were given the same work."""
    digest = hashlib.sha256()
    for client in range(clients):
        for each in islice(operations(seed, client, kinds), many):
            digest.update(repr(each).encode())
    return digest.hexdigest()[:16]


def told(drawn: list[Fault]) -> list[dict[str, Any]]:
    """The plan, as the report keeps it."""
    return [asdict(each) for each in drawn]
