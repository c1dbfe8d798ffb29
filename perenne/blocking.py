"""The client for code that is not async: the same methods, each waited for by its caller.

The async client lives in an event loop of its own, in one thread; so this one works in any thread, beside a running loop and in a
notebook. Names, parameters and types come from `Perenne` itself: there is no second copy to keep in step.
"""

import asyncio
import contextlib
import functools
import queue
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from perenne.api import Perenne

P = ParamSpec("P")
T = TypeVar("T")

_CANCELLED_WITHIN_S = 5.0  # how long a call that Ctrl-C ended may take to let go
_END: Any = object()


def _waited(method: Callable[Concatenate[Perenne, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate["SyncPerenne", P], T]:
    """The method as one that returns once the work is done. Callbacks among its arguments run in the caller's thread."""

    @functools.wraps(method)
    def call(client: "SyncPerenne", *args: P.args, **kwargs: P.kwargs) -> T:
        return client._wait(getattr(client._client, method.__name__), *args, **kwargs)  # pyright: ignore[reportPrivateUsage]

    return call


def _streamed(
    method: Callable[Concatenate[Perenne, P], AsyncGenerator[T]],
) -> Callable[Concatenate["SyncPerenne", P], Generator[T]]:
    """The method as a generator. Who leaves the loop early closes it (`contextlib.closing`)."""

    @functools.wraps(method)
    def call(client: "SyncPerenne", *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        return client._iterate(getattr(client._client, method.__name__)(*args, **kwargs))  # pyright: ignore[reportPrivateUsage]

    return call


class SyncPerenne:
    """A connection; see `Perenne`. Threads may share it. Ctrl-C ends the call that waits, as cancelling ends an async one."""

    def __init__(self, client: Perenne) -> None:
        self._client = client
        self._life = _Life(client)
        self._close = weakref.finalize(self, self._life.end)  # one that was forgotten leaves no thread either

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and its thread; calls that wait in other threads end with RuntimeError. May be called again."""
        self._close()

    projects = _waited(Perenne.projects)
    project = _waited(Perenne.project)
    create_project = _waited(Perenne.create_project)
    rename_project = _waited(Perenne.rename_project)
    delete_project = _waited(Perenne.delete_project)
    ensure_project = _waited(Perenne.ensure_project)

    add = _waited(Perenne.add)
    add_jsonl = _waited(Perenne.add_jsonl)
    documents = _waited(Perenne.documents)
    document = _waited(Perenne.document)
    document_text = _waited(Perenne.document_text)
    delete_document = _waited(Perenne.delete_document)

    watches = _waited(Perenne.watches)
    add_watch = _waited(Perenne.add_watch)
    remove_watch = _waited(Perenne.remove_watch)

    jobs = _waited(Perenne.jobs)
    job = _waited(Perenne.job)
    cancel_job = _waited(Perenne.cancel_job)
    retry_job = _waited(Perenne.retry_job)
    wait_job = _waited(Perenne.wait_job)

    watches = _waited(Perenne.watches)
    add_watch = _waited(Perenne.add_watch)
    remove_watch = _waited(Perenne.remove_watch)

    search = _waited(Perenne.search)
    ask = _waited(Perenne.ask)
    ask_again = _waited(Perenne.ask_again)
    conversations = _waited(Perenne.conversations)
    messages = _waited(Perenne.messages)
    choose = _waited(Perenne.choose)
    delete_conversation = _waited(Perenne.delete_conversation)
    post = _waited(Perenne.post)
    regenerate = _waited(Perenne.regenerate)
    run = _waited(Perenne.run)
    events = _streamed(Perenne.events)
    stop = _waited(Perenne.stop)
    changes = _streamed(Perenne.changes)

    status = _waited(Perenne.status)
    models = _waited(Perenne.models)
    keys = _waited(Perenne.keys)
    create_key = _waited(Perenne.create_key)
    revoke_key = _waited(Perenne.revoke_key)

    def _wait(self, method: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()  # bound by what one call reports
        given = [_passed_on(value, told) for value in args]
        named = {name: _passed_on(value, told) for name, value in kwargs.items()}
        return self._life.wait(method(*given, **named), told)

    def _iterate(self, source: AsyncGenerator[T]) -> Generator[T]:
        async def following() -> T:
            return await anext(source, _END)

        async def closed() -> None:
            await source.aclose()

        try:
            while (item := self._life.wait(following(), queue.SimpleQueue())) is not _END:
                yield item
        finally:
            self._life.leave(closed())


def _passed_on(value: Any, told: queue.SimpleQueue[Any]) -> Any:
    """A callback as one that is called by the thread which waits: there it may use this very client."""
    if not callable(value):
        return value

    def later(*args: Any) -> None:
        told.put(functools.partial(value, *args))

    return later


class _Life:
    """The thread with the loop. It knows nothing of the client in front of it, so that forgetting that one ends it."""

    def __init__(self, client: Perenne) -> None:
        self._client, self._lock, self._begun, self._closed = client, threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="perenne", daemon=True)
        self._thread.start()
        self._begun.wait()

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        await self._over.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await self._client.close()

    def _begin(self, work: Coroutine[Any, Any, Any], begun: Callable[[asyncio.Task[Any]], None]) -> None:
        with self._lock:
            if self._closed or threading.current_thread() is self._thread:
                work.close()
                raise RuntimeError("expected a client that is open, and a caller outside its own thread")
            self._loop.call_soon_threadsafe(lambda: begun(asyncio.create_task(work)))

    def wait(self, work: Coroutine[Any, Any, T], told: queue.SimpleQueue[Any]) -> T:
        """Do the work in the loop; meanwhile call what it tells. Whatever ends the waiting cancels the work."""
        tasks: list[asyncio.Task[T]] = []

        def begun(task: asyncio.Task[T]) -> None:
            tasks.append(task)
            task.add_done_callback(told.put)

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        self._begin(work, begun)
        try:
            while not isinstance(item := told.get(), asyncio.Task):
                item()
        except BaseException:  # Ctrl-C, or the caller's own callback
            with contextlib.suppress(RuntimeError, queue.Empty):  # the loop is closed; it does not let go
                self._loop.call_soon_threadsafe(cancel)
                while not isinstance(told.get(timeout=_CANCELLED_WITHIN_S), asyncio.Task):
                    pass
            raise
        if tasks[0].cancelled():
            raise RuntimeError("the client was closed while a call waited")
        return tasks[0].result()

    def leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work that ends something, and wait where that is possible; a loop that is closed has done it itself."""
        with contextlib.suppress(RuntimeError):
            if threading.current_thread() is self._thread:  # the collector of garbage came by here
                self._leaving = asyncio.ensure_future(work)
            else:
                self.wait(work, queue.SimpleQueue())

    def end(self) -> None:
        with self._lock:  # whatever was begun is in the loop's queue before its end
            self._closed = True
            self._loop.call_soon_threadsafe(self._over.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()
