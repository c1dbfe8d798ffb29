"""What must hold of a folder that a core left behind, however it ended. The checks run in this process, which knows what was
acknowledged; nothing is taken from the core's own word."""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.index.shard import Shard
from actors.store.database import connect_sqlite
from actors.store.writer import WriterCore
from perenne.messages.search import ShardQuery
from tests.chaos.core_work import ANSWER_S, LIMITS, SPEC, blob, commands, database_of, fed
from tests.unit.index.index_model import some_query

COUNTED = ("users", "projects", "conversations", "messages", "runs", "commands")
MODEL = fed()
QUERIES: list[ShardQuery] = [
    some_query(random.Random(n), sorted({item.document_id for item in MODEL.items})) for n in range(12)
]


@dataclass
class Verdict:
    """`wrong` says in words what did not hold; nothing, when all did."""

    acknowledged: int
    lost: int = 0
    doubled: int = 0
    recovery_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


Check = Callable[[Path, Sequence[str]], Verdict]


def rows_of(path: Path) -> dict[str, int]:
    """How many rows the tables have that the workload writes to."""
    with closing(connect_sqlite(path, create=False, pragmas=())) as raw:
        return {table: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in COUNTED}


def expected_rows() -> dict[str, int]:
    messages = sum(1 for command in commands() if type(command).__name__ == "PostMessage")
    return {
        "users": 1,
        "projects": 1,
        "conversations": messages,
        "messages": 2 * messages,
        "runs": messages,
        "commands": messages + 2,
    }


def _looked_at(path: Path) -> tuple[str, set[str]]:
    """What SQLite says of the file, and the commands that it knows."""
    with closing(connect_sqlite(path, create=False, pragmas=())) as raw:
        try:
            sound = "; ".join(row[0] for row in raw.execute("PRAGMA integrity_check(3)").fetchall())
            orphans = len(raw.execute("PRAGMA foreign_key_check").fetchall())
            known = {row[0] for row in raw.execute("SELECT id FROM commands").fetchall()}
        except Exception as error:
            return f"{type(error).__name__}: {error}", set()
    return f"{orphans} rows name what is not there" if orphans else sound, known


def check_writer(folder: Path, acknowledged: Sequence[str]) -> Verdict:
    """The database opens and is sound, every acknowledged command is known, and after all commands are sent again, as callers without
    an answer do, each is there once."""
    verdict, path, begun = Verdict(len(acknowledged)), folder / "store" / "perenne.db", time.monotonic()
    core = WriterCore(database_of(folder))
    try:
        core.open()
    except Exception as error:
        verdict.lost, verdict.wrong = len(acknowledged), [f"it does not open: {type(error).__name__}: {error}"]
        return verdict
    try:
        verdict.recovery_s = time.monotonic() - begun
        sound, known = _looked_at(path)
        if sound != "ok":
            verdict.wrong.append(f"the database is damaged: {sound}")
        if lost := set(acknowledged) - known:
            verdict.lost = len(lost)
            verdict.wrong.append(f"acknowledged and not there: {sorted(lost)}")
        for command in commands():
            (outcome,) = core.submit((command,)).result(ANSWER_S)
            if outcome.error is not None:
                verdict.wrong.append(f"{command.command_id} sent again: {outcome.error}")
    finally:
        core.close()
    if verdict.wrong:
        return verdict
    found, expected = rows_of(path), expected_rows()
    if found != expected:
        verdict.doubled = sum(max(0, found[table] - expected[table]) for table in expected)
        verdict.wrong.append(f"expected rows {expected}, got {found}")
    return verdict


def check_shard(folder: Path, acknowledged: Sequence[str]) -> Verdict:
    """It opens at the last snapshot that was told of or a later one, puts nothing aside, and answers exactly once it has the rest of
    the feed; and so does what it leaves then."""
    verdict, begun = Verdict(len(acknowledged)), time.monotonic()
    told = max((int(seq) for seq in acknowledged), default=0)
    for _ in range(2):
        core = Shard(folder / "shard", SPEC, limits=LIMITS)
        reached = core.open()
        verdict.recovery_s = verdict.recovery_s or time.monotonic() - begun
        if reached < told:
            verdict.lost = sum(int(seq) > reached for seq in acknowledged)
            verdict.wrong.append(f"expected a snapshot of {told} or later, got {reached}")
        if (folder / "shard" / "quarantine").exists():
            verdict.wrong.append(f"put aside: {(folder / 'shard' / 'quarantine' / 'reason.txt').read_text().strip()}")
        core.apply(MODEL.feed(reached))
        for query in QUERIES:
            if core.search(query) != MODEL.search(query):
                verdict.wrong.append(f"another answer than the model's to {query}")
        core.merge()
        core.close()
        told = MODEL.seq
    return verdict


def check_blobs(folder: Path, acknowledged: Sequence[str]) -> Verdict:
    """Every acknowledged file has its name and its bytes, and whatever has a name has the bytes of that name."""
    verdict, begun = Verdict(len(acknowledged)), time.monotonic()
    layout = Layout(folder / "blobs")
    files = BlobFiles(layout)
    files.open()
    verdict.recovery_s = time.monotonic() - begun
    for number in acknowledged:
        if files.stat(hashlib.sha256(blob(int(number))).hexdigest()) is None:
            verdict.lost += 1
            verdict.wrong.append(f"file {number} is acknowledged and not there")
    verdict.wrong += [f"the bytes of {name} are not its own" for name, _ in layout.blobs() if not files.verify(name)]
    return verdict


CHECKS: dict[str, Check] = {
    "writer": check_writer,
    "writer_from_its_start": check_writer,
    "shard": check_shard,
    "blobs": check_blobs,
}
