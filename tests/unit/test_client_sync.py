"""The sync client is the async one, waited for: every method of it, in any thread, ended by Ctrl-C, leaving nothing behind."""

import asyncio
import gc
import inspect
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from perenne.api import Perenne
from perenne.blocking import SyncPerenne
from perenne.errors import NotFound
from perenne.http_api import HttpPerenne
from perenne.messages.records import Job, Project, RunEvent

NEVER = 3600.0


class House:
    """A server of HTTP in this process: one project, one job that takes three looks, one run of five events."""

    def __init__(self) -> None:
        self.looks, self.waiting, self.cancelled = 0, threading.Event(), threading.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/api/projects/slow":
            self.waiting.set()
            try:
                await asyncio.sleep(NEVER)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if path == "/api/projects/p":
            return httpx.Response(200, json=asdict(Project(id="p", user_id="u", name="p", created_at=0.0)))
        if path == "/api/jobs/j":
            self.looks += 1
            state: Any = "done" if self.looks == 3 else "running"
            job = Job(id="j", user_id="u", kind="document", state=state, done=self.looks, created_at=0.0, updated_at=0.0)
            return httpx.Response(200, json=asdict(job))
        if path == "/api/runs/r/events":
            events = [RunEvent(run_id="r", seq=i, kind="done" if i == 5 else "delta", data={}) for i in range(1, 6)]
            lines = "".join(f"data: {httpx.Response(200, json=asdict(e)).text}\n\n" for e in events)
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=lines)
        return httpx.Response(404, json={"error": {"code": "not_found", "message": "no such thing"}})

    def client(self) -> SyncPerenne:
        made = HttpPerenne("http://perenne", "key")
        made._http = httpx.AsyncClient(base_url="http://perenne", transport=httpx.MockTransport(self))
        return SyncPerenne(made)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def client(house: House) -> Iterator[SyncPerenne]:
    before = threading.active_count()
    with house.client() as client:
        yield client
    assert threading.active_count() == before


METHODS = [name for name, held in vars(Perenne).items() if inspect.isfunction(held) and not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_async_client_is_there_with_its_parameters(name: str) -> None:
    """A method that is added to the one and not to the other, or given other parameters, fails here."""
    theirs, ours = getattr(Perenne, name), getattr(SyncPerenne, name, None)
    assert ours is not None, f"SyncPerenne lacks {name}"
    assert [*inspect.signature(theirs).parameters.values()] == [*inspect.signature(ours).parameters.values()]
    assert ours.__name__ == name
    assert not inspect.iscoroutinefunction(ours)


def test_it_has_no_method_that_the_async_client_lacks() -> None:
    assert {name for name in vars(SyncPerenne) if not name.startswith("_")} == set(METHODS)


def test_a_call_gives_the_value_or_raises_the_error(client: SyncPerenne) -> None:
    assert client.project("p").name == client.ensure_project("p").name == "p"
    with pytest.raises(NotFound):
        client.project("nowhere")


def test_callbacks_run_in_the_callers_thread_and_may_use_the_client(client: SyncPerenne) -> None:
    seen: list[tuple[int, str, str]] = []

    def changed(job: Job) -> None:
        seen.append((job.done, client.project("p").id, threading.current_thread().name))

    assert client.wait_job("j", changed).state == "done"
    assert seen == [(looks, "p", threading.current_thread().name) for looks in (1, 2, 3)]


def test_what_a_callback_raises_ends_the_call(client: SyncPerenne) -> None:
    def changed(job: Job) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.wait_job("j", on_change=changed)
    assert client.project("p").id == "p"


def test_events_are_iterated_to_the_end_and_left_early(client: SyncPerenne) -> None:
    assert [event.seq for event in client.events("r")] == [1, 2, 3, 4, 5]
    assert [event.seq for event in client.events("r", after=3)] == [4, 5]
    with closing(client.events("r")) as events:
        assert next(events).seq == 1
    assert list(events) == []


def test_many_threads_share_it(client: SyncPerenne) -> None:
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(client.project("p").id)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got == ["p"] * 20


async def test_it_works_beside_a_running_loop(client: SyncPerenne) -> None:
    """As in a notebook, whose cells run in one."""
    assert client.project("p").id == "p"
    assert [event.seq for event in client.events("r")] == [1, 2, 3, 4, 5]


def test_a_call_that_waits_ends_when_another_thread_closes(house: House) -> None:
    client = house.client()
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            client.project("slow")
        except RuntimeError as error:
            raised.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert house.waiting.wait(10)
    client.close()
    waiter.join(10)
    assert "closed" in str(raised[0])
    assert house.cancelled.is_set()
    client.close()
    with pytest.raises(RuntimeError, match="expected a client that is open"):
        client.project("p")


def test_one_that_is_forgotten_leaves_no_thread(house: House) -> None:
    before = set(threading.enumerate())
    client = house.client()
    events = client.events("r")
    next(events)
    assert set(threading.enumerate()) - before
    del client, events
    gc.collect()
    assert not set(threading.enumerate()) - before  # the collector may end threads of other tests too


CTRL_C = """
import sys, threading
import perenne

client = perenne.connect_sync(sys.argv[1], key="pk_x")
try:
    print("asks", flush=True)
    {call}
except KeyboardInterrupt:
    client.close()
    print("ended", threading.active_count(), flush=True)
"""


@pytest.mark.parametrize(
    "call", ['client.project("p")', 'list(client.events("r"))', 'client.ask("Why?")'], ids=["call", "events", "ask"]
)
def test_ctrl_c_ends_a_call_that_waits(call: str, silent_server: Callable[[], str]) -> None:
    address = silent_server()
    child = subprocess.Popen([sys.executable, "-c", CTRL_C.format(call=call), address], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "asks\n"
    time.sleep(0.5)  # not a wait for a state: a call that waits shows no sign of it outside
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stdout.read() == "ended 1\n"
    assert child.wait(10) == 0
    assert time.monotonic() - began < 10.0  # the call itself would have gone on for 30 s


@pytest.fixture
def silent_server() -> Iterator[Callable[[], str]]:
    """Takes connections and never says a word."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield lambda: f"http://127.0.0.1:{server.getsockname()[1]}"
