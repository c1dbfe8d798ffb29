"""A writer, a reader, a shard and a store of files on a disk of a few megabytes, until it is full; then with room again.

`python -m tests.chaos.full_disk FOLDER SEED…` mounts the disk, so it runs in a mount namespace of its own (`unshare --mount`). What is on
each at the end is copied into FOLDER, and one line of JSON says what was seen: nothing is checked here that the outside can check.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.uploads import Uploads
from actors.index.policy import Limits
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from actors.store import feed, fulltext, talks
from perenne import names
from perenne.errors import StorageFailed
from perenne.messages import commands as c
from perenne.messages.search import Filters, ShardHits, ShardQuery
from tests.unit.store.store_house import SPACE, StoreHouse, passage, unit

SIZE_MB, BALLAST_BYTES = 12, 3 << 20
LIMITS = Limits(kind="hnsw", graph_rows=16, tail_rows=16)
REFUSED = 8  # commands that the full disk refuses before there is room again
PIECE_BYTES = 256 << 10


@dataclass
class Seen:
    """`wrong` says what did not hold while the disk was full; `files`: the hash of each file that was acknowledged."""

    seed: int
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    documents: int = 0
    files_refused: int = 0
    snapshots_refused: int = 0
    recovery_s: float = 0.0
    words: str = ""
    wrong: list[str] = field(default_factory=list)


class House:
    """All that lives on one small disk."""

    def __init__(self, disk: Path, seed: int) -> None:
        self.seen, self.chance = Seen(seed), random.Random(seed)
        self.ballast = disk / "ballast"
        self.ballast.write_bytes(bytes(BALLAST_BYTES))
        self.store = StoreHouse(disk / "home").people()
        self.job = self.store.lines()
        self.shard = Shard(disk / "shard", ShardSpec(SPACE, "model"), limits=LIMITS)
        self.shard.open()
        self.layout = Layout(disk / "blobs")
        self.files, self.uploads = BlobFiles(self.layout), Uploads(self.layout, names.BLOB_PIECE_BYTES)
        self.files.open()

    def close(self) -> None:
        self.shard.close()
        self.store.close()

    def command(self, number: int) -> c.Command:
        """A question, or a document with its passage and vector; of any length."""
        text = f"word{number} lighthouse " * self.chance.randrange(1, 400)
        if number % 3:
            return c.PostMessage(
                command_id=f"say-{number}",
                user_id="ana",
                conversation_id=f"talk-{number}",
                message_id=f"question-{number}",
                reply_id=f"answer-{number}",
                run_id=f"run-{number}",
                project_id="ana-home",
                text=text,
            )
        vector = unit(*(self.chance.uniform(-1, 1) for _ in range(16)))
        return c.StoreDocuments(
            command_id=f"store-{number}",
            user_id=c.SYSTEM_USER,
            job_id=self.job.id,
            lease_token=self.job.lease_token,
            lease_s=30,
            project_id="ana-home",
            space=SPACE,
            documents=(passage(str(number), text, vector, language="en"),),
        )

    def send(self, command: c.Command) -> bool:
        """Whether it was acknowledged."""
        (outcome,) = self.store.send(command)
        if outcome.error is None:
            if command.command_id in self.seen.acknowledged:  # a small one that fitted after all
                return True
            self.seen.acknowledged.append(command.command_id)
            if isinstance(command, c.PostMessage):
                self.seen.questions.append(command.message_id)
            else:
                self.seen.documents += 1
            return True
        self.seen.refused.append(command.command_id)
        self.seen.words = str(outcome.error)
        if not isinstance(outcome.error, StorageFailed):
            self.seen.wrong.append(f"{command.command_id}: {outcome.error!r}")
        return False

    def keep_file(self, number: int) -> bool:
        data = random.Random(number).randbytes(PIECE_BYTES)
        try:
            upload = self.uploads.begin()
            self.uploads.append(upload, 0, data)
            self.seen.files.append(self.uploads.commit(upload)[0])
        except StorageFailed:
            self.seen.files_refused += 1
            return False
        return True

    def snapshot(self) -> bool:
        try:
            self.shard.merge()
        except OSError:
            self.seen.snapshots_refused += 1
            return False
        return True

    def look(self, when: str) -> None:
        """All that was acknowledged is read, found by its words and found by its vector."""
        seen, ask = self.seen, self.store.ask
        query = ShardQuery(vector=unit(*range(1, 17)), k=50, user_id="ana", project_ids=("ana-home",))
        self.shard.apply(ask(feed.index_feed, SPACE, self.shard.applied, 1 << 20))
        found: ShardHits = self.shard.search(query)
        expected: ShardHits = ask(feed.scan, "ana", SPACE, query, 0)
        if found.ids != expected.ids or len(found.ids) != min(seen.documents, query.k):
            seen.wrong.append(f"{when}: by vector {len(found.ids)}, in the tables {len(expected.ids)}, stored {seen.documents}")
        lexical = ask(fulltext.search_text, self.store.reader.counted, "ana", None, "lighthouse", 100, Filters())
        if len(lexical.ids) != min(seen.documents, 100):
            seen.wrong.append(f"{when}: by its word {len(lexical.ids)} of {seen.documents}")
        for question in seen.questions:
            if not ask(talks.find_message, "ana", question).text:
                seen.wrong.append(f"{when}: {question} has no text")


def until_full(house: House) -> list[c.Command]:
    """Write until nothing is taken any more; what was refused."""
    refused: list[c.Command] = []
    number = 0
    while len(refused) < REFUSED:
        number += 1
        command = house.command(number)
        if not house.send(command):
            refused.append(command)
        if number % 16 == 0:
            house.look("while it fills")
            house.snapshot()
        if number % 8 == 0:
            house.keep_file(number)
        if number > 5_000:
            raise AssertionError("the disk is never full")
    return refused


def fill_to_the_last_byte(path: Path) -> None:
    """What the writer's pages left free."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            return


def disaster(disk: Path, seed: int) -> Seen:
    house = House(disk, seed)
    try:
        refused, seen = until_full(house), house.seen
        fill_to_the_last_byte(disk / "filling")
        for command in refused:  # asked again while nothing has changed
            house.send(command)
        house.look("full")
        if house.keep_file(100_000) or house.snapshot():
            seen.wrong.append("a file or a snapshot was kept on a full disk")
        house.look("full, after all was tried")
        (disk / "filling").unlink()
        house.ballast.unlink()
        room_at = time.monotonic()
        for command in refused:
            if not house.send(command):
                seen.wrong.append(f"{command.command_id} with room again: {seen.words}")
            seen.recovery_s = seen.recovery_s or time.monotonic() - room_at
        house.look("with room again")
        if not house.keep_file(100_001) or not house.snapshot():
            seen.wrong.append("no file or no snapshot was kept with room again")
        return seen
    finally:
        house.close()


def main(folder: Path, seeds: list[int]) -> None:
    disk = folder / "disk"
    disk.mkdir()
    for seed in seeds:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "none", disk], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(json.dumps({"no_disk": done.stderr.strip()}), flush=True)
            return
        seen: Any = asdict(disaster(disk, seed))
        for name in ("home", "shard", "blobs"):
            shutil.copytree(disk / name, folder / str(seed) / name)
        subprocess.run(["umount", disk], check=True)
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
