"""`python -m benchmarks.recovery`: from kill -9 to the next right answer, for each part of a running instance (tiny profile).

A caller asks again every 50 ms until the answer is the right one: the passage that is known to be it, the text that was stored,
the bytes that were sent, the words that the model wrote before. Parts are struck in turn, round after round, and everything is ready
again before the next blow. What an answer takes when nothing dies is shown beside it: it is part of the figure.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.report import Figure, publish
from benchmarks.routes import write_lines
from perenne import names
from perenne.ids import new_id
from tests.live.running import RunningInstance

GOAL_S = 5
AGAIN_S = 0.05  # between two tries
REST_S = 8.0  # between the end of one disaster and the next blow
GIVE_UP_S = 120.0
_TRY_S = 3.0  # one request; a caller whose connection hangs begins a new one
_WORK_S = 60.0  # one answer of a model, one job
_LINES = 300
_CAT = "A cat sleeps on the warm windowsill all afternoon."
_OF_THE_CAT = "Un felino duerme junto a la ventana"  # no word of it is in the passage: only meaning finds it
_QUESTION = "Write a long story about a lighthouse keeper and the sea."
_SHORT = {"grounded": False, "max_tokens": 6, "seed": 7, "temperature": 0.0}

Probe = Callable[[httpx.AsyncClient], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """`find`: the processes to strike. `probe`: whether an answer that needs the part is right. `back`: what else must be so."""

    named: str
    find: Callable[[], list[int]]
    probe: Probe
    model: bool = False
    back: Callable[[list[int]], bool] | None = None


class House:
    """An instance with documents, a conversation and a file, and what is right to say of them."""

    def __init__(self, running: RunningInstance) -> None:
        self.running = running
        self.project = self.document = self.file = self.conversation = self.said = ""
        self.bytes = b"A file that is kept as it came.\n" * 2_000

    def http(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.running.key}"}
        return httpx.AsyncClient(base_url=self.running.address, headers=headers, timeout=_TRY_S, trust_env=False)

    async def fill(self, folder: Path) -> None:
        """Take everything in, and hear the model once."""
        async with self.http() as http:
            self.project = (await self._json(http.post("/api/projects", json={"name": new_id("recovery")})))["id"]
            lines = folder / "lines.jsonl"
            write_lines(lines, _LINES)
            lines.write_text(lines.read_text() + json.dumps({"id": "cat", "title": "cat", "text": _CAT}) + "\n")
            await self._job(http, (await self._json(self._send(http, "jsonl", "lines.jsonl", lines.read_bytes())))["id"])
            added = await self._json(self._send(http, "documents", "kept.txt", self.bytes))
            self.file = added["document"]["id"]
            await self._job(http, added["job"]["id"])
            self.conversation, self.said = await self._answer(http)
            if not self.said.strip():
                raise RuntimeError("expected the model to say something, got nothing")

    # Answers, and whether they are right

    async def reads(self, http: httpx.AsyncClient) -> bool:
        """A stored message, read back."""
        page = await self._json(http.get(f"/api/conversations/{self.conversation}/messages"))
        return [message["text"] for message in page["items"]] == [_QUESTION, self.said]

    async def writes(self, http: httpx.AsyncClient) -> bool:
        """Something new is stored, and read back."""
        title = new_id("title")
        made = await self._json(http.post("/api/conversations", json={"title": title}))
        return (await self._json(http.get(f"/api/conversations/{made['id']}")))["title"] == title

    async def means(self, http: httpx.AsyncClient) -> bool:
        """The one passage is found that no word of the question stands in, and nothing is missing from the search."""
        asked = {"query": _OF_THE_CAT, "project": self.project, "k": 3}
        found = await self._json(http.post("/api/search", json=asked))
        hits = found["hits"]
        return found["degraded"] is None and bool(hits) and hits[0]["external_id"] == "cat" and hits[0]["text"] == _CAT

    async def answers(self, http: httpx.AsyncClient) -> bool:
        """The model writes what it wrote before, and it is kept."""
        return (await self._answer(http))[1] == self.said

    async def takes_in(self, http: httpx.AsyncClient) -> bool:
        """A new document is taken in, and found by a word that stands in it alone."""
        word = new_id("word").replace("_", "")
        text = f"The password of the day is {word}."
        line = json.dumps({"id": word, "title": "today", "text": text}).encode() + b"\n"
        await self._job(http, (await self._json(self._send(http, "jsonl", f"{word}.jsonl", line)))["id"])
        found = await self._json(http.post("/api/search", json={"query": word, "project": self.project, "k": 1}))
        return [hit["text"] for hit in found["hits"]] == [text]

    async def gives_the_file(self, http: httpx.AsyncClient) -> bool:
        """The file's very bytes."""
        answer = await http.get(f"/api/documents/{self.file}/file")
        return answer.is_success and answer.content == self.bytes

    async def _json(self, answer: Awaitable[httpx.Response]) -> Any:
        """The body; HTTPStatusError unless all is well."""
        return (await answer).raise_for_status().json()

    async def _send(self, http: httpx.AsyncClient, what: str, name: str, data: bytes) -> httpx.Response:
        return await http.post(f"/api/projects/{self.project}/{what}", files={"file": (name, data)}, timeout=_WORK_S)

    async def _job(self, http: httpx.AsyncClient, job_id: str) -> None:
        async with asyncio.timeout(_WORK_S):
            while (job := await self._json(http.get(f"/api/jobs/{job_id}")))["state"] in ("queued", "running"):
                await asyncio.sleep(AGAIN_S)
        if job["state"] != "done":
            raise RuntimeError(f"expected the job to end well, got {job['state']}: {job['reason']}")

    async def _answer(self, http: httpx.AsyncClient) -> tuple[str, str]:
        """Conversation and text of an answer that ended well."""
        talk = (await self._json(http.post("/api/conversations", json={})))["id"]
        body = {"text": _QUESTION, "options": _SHORT}
        posted = await self._json(http.post(f"/api/conversations/{talk}/messages", json=body))
        async with asyncio.timeout(_WORK_S):
            while (run := await self._json(http.get(f"/api/runs/{posted['run']['id']}")))["state"] in ("queued", "running"):
                await asyncio.sleep(AGAIN_S)
        if run["state"] != "done":
            raise RuntimeError(f"expected the answer to end well, got {run['state']}: {run['reason']}")
        page = await self._json(http.get(f"/api/conversations/{talk}/messages"))
        return talk, page["items"][-1]["text"]

    # Parts

    def parts(self) -> list[Part]:
        """All that is struck. Where more than one process is meant (a proxy's), all die at once."""
        running, settings = self.running, self.running.settings

        def child(name: str) -> Callable[[], list[int]]:
            return lambda: [pid for pid in (running.child(name).pid,) if pid > 0]

        def titled(sign: str) -> Callable[[], list[int]]:
            return lambda: running.pids_of(sign)

        def replaced(sign: str) -> Callable[[list[int]], bool]:
            """Another process has that title, and the tree is ready."""

            def look(struck: list[int]) -> bool:
                status = running.status()
                return bool(set(running.pids_of(sign)) - set(struck)) and status is not None and status.ready

            return look

        def reader_and(sign: str) -> Callable[[], list[int]]:
            return lambda: [*running.pids_of(sign), running.child(names.store_reader(0)).pid]

        shard = names.index_shard(settings.embedding.space, 0)
        return [
            Part("writer", child(names.STORE_WRITER), self.writes),
            Part("reader", child(names.store_reader(0)), self.reads),
            Part("index shard", child(shard), self.means),
            Part("run host", child(names.RUN_HOST), self.answers),
            Part("ingest host", child(names.INGEST_HOST), self.takes_in),
            Part("store of files", child(names.blob_store(settings.pc)), self.gives_the_file),
            Part("Supervisor", titled("ray::Supervisor"), self.reads, back=replaced("ray::Supervisor")),
            Part("edge replica", titled("ray::ServeReplica:edge"), self.reads),
            Part("HAProxy", titled("haproxy"), self.reads),
            Part("actor that keeps HAProxy", titled("ray::HAProxyManager"), self.reads),
            Part("Serve's own proxy", titled("ray::ProxyActor"), self.reads),
            Part("Serve's controller", titled("ray::ServeController"), self.reads, back=replaced("ray::ServeController")),
            Part("control plane", titled("gcs_server"), self.reads, back=replaced("gcs_server")),
            Part("control plane and reader at once", reader_and("gcs_server"), self.reads),
            Part("language model", titled("ray::ServeReplica:language"), self.answers, model=True),
            Part("embedding model", titled("ray::ServeReplica:embedding"), self.means, model=True),
        ]

    async def until_right(self, part: Part, struck: list[int]) -> float:
        """Seconds until the next right answer; TimeoutError when there is none for long."""
        began = time.monotonic()
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                try:
                    async with self.http() as http:  # a new connection: the old one may hang on what died
                        right = await part.probe(http)
                    if right and (part.back is None or not struck or await asyncio.to_thread(part.back, struck)):
                        return time.monotonic() - began
                except (httpx.HTTPError, RuntimeError, TimeoutError, KeyError):
                    pass  # not there yet
                await asyncio.sleep(AGAIN_S)


def strike(part: Part) -> list[int]:
    """Kill its processes; their ids. RuntimeError when there are none."""
    struck = part.find()
    if not struck:
        raise RuntimeError(f"expected processes of the {part.named}, found none")
    for pid in struck:
        os.kill(pid, signal.SIGKILL)
    return struck


async def rounds_of(house: House, parts: Sequence[Part], rounds: int, rest_s: float) -> tuple[dict[str, list[float]], ...]:
    """Seconds of each part without and with its death."""
    calm: dict[str, list[float]] = {part.named: [] for part in parts}
    after: dict[str, list[float]] = {part.named: [] for part in parts}
    for number in range(rounds):
        for part in parts:
            await asyncio.to_thread(house.running.await_ready)
            await asyncio.sleep(rest_s)
            calm[part.named].append(await house.until_right(part, []))
            struck = await asyncio.to_thread(strike, part)
            after[part.named].append(await house.until_right(part, struck))
            print(f"round {number + 1}: {part.named}: {after[part.named][-1]:.2f} s", file=sys.stderr, flush=True)
    return calm, after


def figures_of(parts: Sequence[Part], calm: dict[str, list[float]], after: dict[str, list[float]]) -> list[Figure]:
    """The middle one of the rounds, with the slowest in its note; the goal is on every round."""
    figures: list[Figure] = []
    for part in sorted(parts, key=lambda part: part.model):
        took, beside = after[part.named], statistics.median(calm[part.named])
        goal = "" if part.model else f"ours <= {GOAL_S}"
        named = f"{'model: ' if part.model else ''}{part.named}"
        note = f"{len(took)} rounds; the answer alone takes {beside:.2f} s"
        figures.append(Figure(f"{named}, p50", statistics.median(took), None, "s", goal, note))
        figures.append(Figure(f"{named}, slowest", max(took), None, "s", goal))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rest-s", type=float, default=REST_S, help="between everything ready and the next blow")
    parser.add_argument("--only", nargs="+", help="parts by their names, such as writer")
    given = parser.parse_args()
    running = RunningInstance()
    (running.home / "config.yaml").write_text("edge:\n  requests_per_minute: 10000000\n")
    try:
        running.start()
        house = House(running)
        with TemporaryDirectory() as folder:
            asyncio.run(house.fill(Path(folder)))
        every = house.parts()
        if unknown := set(given.only or ()) - {part.named for part in every}:
            parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(part.named for part in every)}")
        parts = [part for part in every if given.only is None or part.named in given.only]
        calm, after = asyncio.run(rounds_of(house, parts, given.rounds, given.rest_s))
    finally:
        running.close()
    details = {"rounds": given.rounds, "profile": "tiny", "seconds": after, "seconds_without_a_death": calm}
    return 0 if publish("recovery", figures_of(parts, calm, after), **details) else 1


if __name__ == "__main__":
    sys.exit(main())
