"""The shard of the index dies by SIGKILL while documents are added and searched for."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from perenne.api import Perenne
from tests.chaos.recorder import Recorder
from tests.live.running import mark_of_run

PROMISE = "searches go on, and find by meaning whatever was acknowledged, before and after"


async def add(api: Perenne, folder: Path, project: str, name: str, text: str) -> None:
    path = folder / f"{name}.jsonl"
    path.write_text(json.dumps({"id": name, "title": name, "text": text}) + "\n")
    job = await api.wait_job((await api.add_jsonl(path, project)).id, timeout_s=120)
    assert job.state == "done", job.reason


async def found(api: Perenne, project: str, query: str) -> tuple[set[str | None], tuple[str, ...]]:
    response = await api.search(query, project, k=5)
    return {hit.external_id for hit in response.hits}, response.parts


async def test_a_search_finds_what_was_acknowledged_when_the_shard_is_killed(
    api: Perenne, kill: Callable[[str], float], recorder: Recorder, round_number: int, tmp_path: Path
) -> None:
    project = (await api.create_project(f"shard-{mark_of_run()}")).id
    await add(api, tmp_path, project, "cat", "A cat sleeps on the warm windowsill all afternoon.")
    (shard,) = [child.name for child in (await api.status()).children if child.name.startswith("IndexShard-")]
    struck = kill(shard)
    ids, _ = await found(api, project, "cat windowsill")  # at once: the lexical half needs no shard
    assert ids == {"cat"}
    await add(api, tmp_path, project, "ship", "The vessel sailed out of the harbour at dawn.")
    while True:  # by meaning only: no word of the question is in the passage, nor is the language the same
        ids, parts = await found(api, project, "¿Cuándo zarpó el barco del puerto?")
        if "dense" in parts and "ship" in ids:
            break
        assert time.monotonic() - struck < 60, f"found {ids} by {parts}"
    recorder.round("kill -9 of an index shard", PROMISE, time.monotonic() - struck, acknowledged=2)
    ids, parts = await found(api, project, "Un felino duerme junto a la ventana")
    assert "cat" in ids
    assert "dense" in parts
