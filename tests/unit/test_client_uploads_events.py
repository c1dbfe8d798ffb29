"""Both clients at their edges: an upload that fails is dropped, the events of a run that is over come to an end."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from perenne import names
from perenne.actor_api import ActorPerenne
from perenne.errors import TooLarge, Unavailable
from perenne.http_api import HttpPerenne
from perenne.messages.records import Page, Project, Run, RunOptions
from perenne.testing import FakeDirectory


class Files:
    """A store of files with no room for this one."""

    def __init__(self) -> None:
        self.open = set[str]()

    async def begin(self) -> str:
        self.open.add("upl")
        return "upl"

    async def append(self, upload_id: str, offset: int, data: bytes) -> int:
        raise TooLarge("the file", len(data), 1)

    async def abort(self, upload_id: str) -> None:
        self.open.discard(upload_id)


class Reader:
    async def project(self, user_id: str, project: str) -> Project:
        return Project(id=project, user_id=user_id, name=project, created_at=0.0)

    async def projects(self, **_: Any) -> Page[Project]:
        return Page(items=())


async def test_an_upload_that_fails_gives_its_place_back(tmp_path: Path) -> None:
    # 256 that failed kept everybody from adding files for a day.
    files = Files()
    directory = FakeDirectory(**{names.blob_store("pc1"): files, names.store_reader(0): Reader()})
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(TooLarge):
        await ActorPerenne(directory).add(tmp_path / "a.txt", "p")
    assert files.open == set()
    with pytest.raises(FileNotFoundError):
        await ActorPerenne(directory).add(tmp_path / "none.txt", "p")
    assert files.open == set()


def run(state: Any, events: int) -> Run:
    ids = {"id": "r", "user_id": "u", "conversation_id": "c", "question_id": "q", "message_id": "m"}
    return Run(**ids, state=state, events=events, options=RunOptions(), created_at=0.0, updated_at=0.0)


class Server:
    """Ends each stream of events at once, without an event, as for a follower who has seen all."""

    def __init__(self, told: Run) -> None:
        self.told, self.streams = told, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            self.streams += 1
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b": alive\n\n")
        return httpx.Response(200, json=asdict(self.told))

    def client(self, **options: Any) -> HttpPerenne:
        made = HttpPerenne("http://perenne", "key", **options)
        made._http = httpx.AsyncClient(base_url="http://perenne", transport=httpx.MockTransport(self))
        return made


async def test_the_events_of_a_run_whose_end_was_seen_are_none() -> None:
    # They never ended: the client asked again at once, for ever, as fast as the server answered.
    server = Server(run("done", 7))
    async with server.client() as client:
        assert [event async for event in client.events("r", after=7)] == []
    assert server.streams == 1


async def test_a_server_that_ends_every_stream_at_once_is_given_up_and_not_flooded() -> None:
    server = Server(run("running", 3))
    began = time.monotonic()
    async with server.client(deadline_s=0.7) as client:
        with pytest.raises(Unavailable, match="again and again"):
            await anext(client.events("r", after=3))
    assert time.monotonic() - began < 10.0
    assert server.streams <= 5
