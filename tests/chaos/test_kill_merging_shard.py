"""The shard of the index dies by SIGKILL in the middle of a merge, or of the making of its graph, while lines are added and searched for."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

from perenne.api import Perenne
from tests.chaos.passages import CAT, OF_THE_CAT, OF_THE_SHIP, SHIP, assert_found_by_meaning, found
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance, mark_of_run

PROMISE = "the base that was there serves on, nothing acknowledged is lost, the next start makes the rest again"
LINES = 400
KILLS = 3
LOOK_AGAIN_S = 0.001
KEEP_S = 5.0  # how often a shard looks whether a merge is due


def half_written(folder: Path) -> bool:
    """Whether there is a file that the manifest does not name yet."""
    try:
        named = json.loads((folder / "manifest.json").read_text())["files"]
    except (OSError, ValueError):
        named = {}
    return any(path.name not in named for path in folder.glob("*.faiss"))


async def in_the_middle_of_a_merge(folder: Path, within_s: float) -> None:
    """Return while one is being made; at the latest when it should long have begun."""
    until = time.monotonic() + within_s
    while time.monotonic() < until and not half_written(folder):
        await asyncio.sleep(LOOK_AGAIN_S)


async def test_a_shard_killed_while_it_merges_finds_all_that_was_acknowledged(
    api: Perenne, instance: RunningInstance, kill: Callable[[str], float], recorder: Recorder, round_number: int, tmp_path: Path
) -> None:
    project = (await api.create_project(f"merging-{mark_of_run()}")).id
    (shard,) = [child.name for child in (await api.status()).children if child.name.startswith("IndexShard-")]
    space, _, number = shard.removeprefix("IndexShard-").rpartition("-")
    folder = instance.settings.path("index", space, number)
    path = tmp_path / "lines.jsonl"
    texts = [CAT, *((f"n{n}", f"Entry {n} of the ledger names crate {n * 7} in hall {n % 13}.") for n in range(LINES)), SHIP]
    path.write_text("".join(json.dumps({"id": name, "title": name, "text": text}) + "\n" for name, text in texts))
    adding = asyncio.create_task(api.wait_job((await api.add_jsonl(path, project)).id, timeout_s=240))
    struck, caught = time.monotonic(), 0
    for _ in range(KILLS):
        await in_the_middle_of_a_merge(folder, 2 * KEEP_S)
        caught += half_written(folder)
        struck = kill(shard)
        ids, _ = await found(api, project, "cat windowsill")  # at once: words need no shard
        assert ids <= {name for name, _ in texts}
    assert (await adding).state == "done"
    await assert_found_by_meaning(api, project, "cat", OF_THE_CAT, within_s=60)
    await assert_found_by_meaning(api, project, "ship", OF_THE_SHIP, within_s=10)
    assert not (folder / "quarantine").exists()
    recorder.round("kill -9 of an index shard in a merge", PROMISE, time.monotonic() - struck, acknowledged=len(texts))
    assert caught, "no kill came in the middle of a merge"
