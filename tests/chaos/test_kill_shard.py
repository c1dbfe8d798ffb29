"""The shard of the index dies by SIGKILL while documents are added and searched for."""

import time
from collections.abc import Callable
from pathlib import Path

from perenne.api import Perenne
from tests.chaos.passages import CAT, OF_THE_CAT, OF_THE_SHIP, SHIP, add, assert_found_by_meaning, found
from tests.chaos.recorder import Recorder
from tests.live.running import mark_of_run

PROMISE = "searches go on, and find by meaning whatever was acknowledged, before and after"


async def test_a_search_finds_what_was_acknowledged_when_the_shard_is_killed(
    api: Perenne, kill: Callable[[str], float], recorder: Recorder, round_number: int, tmp_path: Path
) -> None:
    project = (await api.create_project(f"shard-{mark_of_run()}")).id
    await add(api, tmp_path, project, *CAT)
    (shard,) = [child.name for child in (await api.status()).children if child.name.startswith("IndexShard-")]
    struck = kill(shard)
    ids, _ = await found(api, project, "cat windowsill")  # at once: the lexical half needs no shard
    assert ids == {"cat"}
    await assert_found_by_meaning(api, project, "cat", OF_THE_CAT, within_s=60)
    recorder.round("kill -9 of an index shard", PROMISE, time.monotonic() - struck, acknowledged=2)
    await add(api, tmp_path, project, *SHIP)
    await assert_found_by_meaning(api, project, "ship", OF_THE_SHIP, within_s=10)
    await assert_found_by_meaning(api, project, "cat", OF_THE_CAT, within_s=10)
