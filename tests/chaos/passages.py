"""Documents under fire: added one by one, and looked for by meaning alone."""

import asyncio
import json
from pathlib import Path

from perenne.api import Perenne

CAT = ("cat", "A cat sleeps on the warm windowsill all afternoon.")
SHIP = ("ship", "The vessel sailed out of the harbour at dawn.")
# No word of these is in the passages, nor is the language the same: only the shard finds them.
OF_THE_CAT = "Un felino duerme junto a la ventana"
OF_THE_SHIP = "¿Cuándo zarpó el barco del puerto?"


async def add(api: Perenne, folder: Path, project: str, name: str, text: str) -> None:
    """Add one document; it is acknowledged when this returns."""
    path = folder / f"{name}.jsonl"
    path.write_text(json.dumps({"id": name, "title": name, "text": text}) + "\n")
    job = await api.wait_job((await api.add_jsonl(path, project)).id, timeout_s=120)
    assert job.state == "done", job.reason


async def found(api: Perenne, project: str, query: str) -> tuple[set[str | None], tuple[str, ...]]:
    """External ids of the hits, and the parts of the search that answered."""
    response = await api.search(query, project, k=5)
    return {hit.external_id for hit in response.hits}, response.parts


async def assert_found_by_meaning(api: Perenne, project: str, name: str, query: str, within_s: float) -> None:
    """The dense part finds the document before the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        ids, parts = await found(api, project, query)
        if name in ids and "dense" in parts:
            return
        assert loop.time() < deadline, f"{name} is not found by meaning: {ids} by {parts}"
        await asyncio.sleep(0.2)
