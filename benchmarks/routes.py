"""What each route that needs no model takes, and each question to the database: one after another, on an instance that has rows.

Part of `python -m benchmarks.edge`. Every answer is checked: its status, and that it holds what was asked for.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import perenne
from actors.store import fulltext, reading, talks
from actors.store.reader import ReaderCore
from benchmarks.report import Figure
from perenne.api import Perenne
from perenne.ids import new_id
from perenne.messages.records import RunOptions
from perenne.messages.search import Filters
from perenne.settings import load_settings

LINES = 1_000  # documents in the project that is asked about
TALKS = 20  # conversations
ROUTE_MS, READ_MS = 25, 5  # the goals, p99
WARM = 10  # requests of each before its time counts
_USER = "owner"
_TEXT = (
    "Lighthouse {n} was built in {year} and is seen from {miles} nautical miles away. Its keeper was Marie Kerbrat number {n}."
)


@dataclass(frozen=True, slots=True)
class Rows:
    """What there is to ask about."""

    project: str
    document: str
    conversation: str
    job: str


def write_lines(path: Path, count: int) -> None:
    """JSON lines, a lighthouse each."""
    said = (_TEXT.format(n=n, year=1500 + n % 500, miles=5 + n % 30) for n in range(count))
    lines = ({"id": f"l{n}", "title": f"Lighthouse {n}", "text": text} for n, text in enumerate(said))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


async def fill(client: Perenne) -> Rows:
    """A project of LINES documents, and a conversation."""
    project = await client.create_project(f"routes {new_id('n')}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lighthouses.jsonl")
        write_lines(path, LINES)
        job = await client.wait_job((await client.add_jsonl(path, project.id)).id, timeout_s=600)
    if job.state != "done":
        raise RuntimeError(f"expected the lines to be taken in, got {job.state}: {job.reason}")
    document = (await client.documents(project.id, limit=1)).items[0]
    posted = await client.post("Say hello.", options=RunOptions(grounded=False, max_tokens=8))
    async for _ in client.events(posted.run.id):
        pass
    return Rows(project.id, document.id, posted.run.conversation_id, job.id)


def routes_of(rows: Rows) -> dict[str, tuple[str, str, Any, str]]:
    """Of each route: method, path, body, and what its answer must hold."""
    p, d, c = f"/api/projects/{rows.project}", f"/api/documents/{rows.document}", f"/api/conversations/{rows.conversation}"
    reads = {
        "/api/projects": rows.project,
        p: rows.project,
        f"{p}/documents": '"external_id"',
        "/api/documents": '"external_id"',
        d: rows.document,
        f"{d}/text": "Lighthouse",
        "/api/jobs": rows.job,
        f"/api/jobs/{rows.job}": rows.job,
        "/api/conversations": '"talk 1"',
        c: rows.conversation,
        f"{c}/messages": "Say hello.",
        "/api/keys": '"scopes"',
        "/api/watches": "[",
        "/api/me": '"user_id"',
        "/api/status": '"children"',
        "/api/models": '"model_id"',
        "/v1/models": '"object"',
        "/v1/files?limit=100": '"object"',
        "/v1/vector_stores": rows.project,
        f"/v1/vector_stores/{rows.project}": rows.project,
    }
    routes: dict[str, tuple[str, str, Any, str]] = {
        f"GET {_shown(path, rows)}": ("GET", path, None, held) for path, held in reads.items()
    }
    routes["POST /api/conversations"] = ("POST", "/api/conversations", {"title": "another"}, '"another"')
    routes["PATCH /api/conversations/…"] = ("PATCH", c, {"title": "renamed"}, '"renamed"')
    routes["POST /api/ws-ticket"] = ("POST", "/api/ws-ticket", None, '"ticket"')
    return routes


def _shown(path: str, rows: Rows) -> str:
    for id in (rows.project, rows.document, rows.conversation, rows.job):
        path = path.replace(id, "…")
    return path


async def _timed(ask: Callable[[], Awaitable[None]], times: int) -> list[float]:
    """Milliseconds of each, after a few that do not count."""
    took: list[float] = []
    for n in range(WARM + times):
        began = time.perf_counter()
        await ask()
        if n >= WARM:
            took.append((time.perf_counter() - began) * 1e3)
    return took


def _figure(named: str, took: list[float], goal_ms: float) -> Figure:
    note = f"p50 {statistics.median(took):.3g} ms, worst {max(took):.3g} ms of {len(took)}"
    return Figure(f"{named}, p99", float(np.quantile(took, 0.99)), None, "ms", f"ours <= {goal_ms}", note)


async def of_routes(address: str, key: str, rows: Rows, requests: int) -> list[Figure]:
    """A kept connection, one request after another."""
    figures: list[Figure] = []
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30.0, trust_env=False) as http:
        for n in range(TALKS):
            (await http.post("/api/conversations", json={"title": f"talk {n}"})).raise_for_status()
        for named, (method, path, body, held) in routes_of(rows).items():

            async def ask(method: str = method, path: str = path, body: Any = body, held: str = held) -> None:
                answer = await http.request(method, path, json=body)
                if not answer.is_success or held not in answer.text:
                    raise RuntimeError(f"{method} {path}: expected {held!r}, got {answer.status_code} {answer.text[:200]}")

            figures.append(_figure(named, await _timed(ask, requests), ROUTE_MS))
    return figures


async def of_reads(home: Path, rows: Rows, requests: int) -> list[Figure]:
    """By the readers' own core on the instance's database, in this process, while the instance runs."""
    core = ReaderCore(load_settings({"PERENNE_HOME": str(home)}).database_url, threads=1)
    core.open()
    found = core.ask(fulltext.search_text, core.counted, _USER, rows.project, "lighthouse keeper 7", 60, Filters())
    questions: dict[str, Callable[[], Any]] = {
        "projects": lambda: core.ask(reading.list_projects, _USER, 100, None).items,
        "a project by id": lambda: core.ask(reading.find_project, _USER, rows.project),
        "100 documents of a project": lambda: (
            core.ask(reading.list_documents, user_id=_USER, project_id=rows.project, state=None, limit=100, after=None).items
        ),
        "a document": lambda: core.ask(reading.find_document, _USER, rows.document),
        "a document's text": lambda: core.ask(reading.document_text, _USER, rows.document, 0, None).text,
        "jobs": lambda: core.ask(reading.list_jobs, user_id=_USER, project_id=None, states=None, limit=100, after=None).items,
        "conversations": lambda: core.ask(talks.list_conversations, user_id=_USER, project_id=None, limit=50, after=None).items,
        "messages of a conversation": lambda: (
            core.ask(talks.list_messages, user_id=_USER, conversation_id=rows.conversation, limit=200, after=None).items
        ),
        "60 passages by id": lambda: core.ask(reading.find_chunks, _USER, found.ids, rows.project).chunks,
        "search by words": lambda: (
            core.ask(fulltext.search_text, core.counted, _USER, rows.project, "keeper number 7", 60, Filters()).ids
        ),
    }
    figures: list[Figure] = []
    try:
        for named, question in questions.items():

            async def ask(question: Callable[[], Any] = question, named: str = named) -> None:
                if not question():
                    raise RuntimeError(f"expected {named} to be there, got nothing")

            figures.append(_figure(f"database: {named}", await _timed(ask, requests), READ_MS))
    finally:
        core.close()
    return figures


async def measured(address: str, key: str, home: Path, requests: int) -> list[Figure]:
    """All figures of both."""
    async with perenne.connect(address, key=key) as client:
        rows = await fill(client)
    await asyncio.sleep(2.0)  # what a job leaves to do
    return [*await of_routes(address, key, rows, requests), *await of_reads(home, rows, requests)]
