"""The thread that works and the line before it, with a small real engine in it."""

import asyncio
import os
import threading

import pytest

from actors.models.inference_thread import HELPER_NICE, InferenceThread, Job
from perenne.errors import Busy, EngineFailed
from perenne.testing import eventually


@pytest.fixture
def thread():
    made = InferenceThread("small", queue_max=2)
    yield made
    made.close()


class Counting:
    """Counts up until it is cancelled or told to end, as an engine that writes tokens does."""

    def __init__(self) -> None:
        self.end, self.stopped = threading.Event(), threading.Event()
        self.said = self.nice = 0

    def __call__(self, job: Job[int]) -> None:
        self.nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        while not (job.cancelled.is_set() or self.end.wait(0.01)):
            self.said += 1
            job.emit(self.said)
        self.stopped.set()


async def test_what_is_emitted_arrives_in_order_and_ends(thread) -> None:
    def work(job: Job[int]) -> None:
        for number in range(500):
            job.emit(number)

    assert [item async for item in thread.submit(work).items()] == list(range(500))


async def test_a_full_line_says_busy_and_when(thread) -> None:
    first = Counting()
    jobs = [thread.submit(first)]
    await eventually(lambda: first.said)
    jobs += [thread.submit(Counting()), thread.submit(Counting())]
    with pytest.raises(Busy, match="2 wait") as refused:
        thread.submit(Counting())
    assert refused.value.retry_after_s > 0
    assert thread.queue == 3
    for job in jobs:
        job.cancelled.set()


async def test_who_leaves_the_line_frees_a_place_and_is_never_worked_on(thread) -> None:
    first, left = Counting(), Counting()
    running = thread.submit(first)
    await eventually(lambda: first.said)
    waiting = thread.submit(left)
    thread.submit(Counting()).cancelled.set()
    waiting.cancelled.set()
    thread.submit(Counting()).cancelled.set()
    running.cancelled.set()
    await eventually(lambda: thread.queue == 0)
    assert left.said == 0


async def test_a_reader_that_leaves_stops_the_work(thread) -> None:
    work = Counting()
    items = thread.submit(work).items()
    assert await anext(items) == 1
    await items.aclose()
    await eventually(work.stopped.is_set, 1.0)


async def test_a_reader_that_is_cancelled_stops_the_work(thread) -> None:
    work = Counting()

    async def read() -> None:
        async for _ in thread.submit(work).items():
            pass

    reading = asyncio.create_task(read())
    await eventually(lambda: work.said)
    reading.cancel()
    await eventually(work.stopped.is_set, 1.0)


async def test_silence_is_filled_with_signs_of_life(thread) -> None:
    go = threading.Event()
    items = thread.submit(lambda job: go.wait(5) and job.emit(1)).items()
    async with asyncio.timeout(1.5):
        assert await anext(items) is None
    go.set()
    assert [item async for item in items if item is not None] == [1]


async def test_what_an_engine_raises_is_its_failure_and_the_thread_goes_on(thread) -> None:
    def broken(job: Job[int]) -> None:
        raise ZeroDivisionError("a bad matrix")

    with pytest.raises(EngineFailed, match="ZeroDivisionError: a bad matrix"):
        [item async for item in thread.submit(broken).items()]
    assert [item async for item in thread.submit(lambda job: job.emit(2)).items()] == [2]


async def test_a_query_goes_before_passages_that_wait(thread) -> None:
    order: list[str] = []
    first = Counting()
    thread.submit(first)
    await eventually(lambda: first.said)
    waiting = [
        thread.submit(lambda job, name=name: order.append(name), priority=priority)
        for name, priority in (("passage", 1), ("query", 0))
    ]
    first.end.set()
    for job in waiting:
        assert [item async for item in job.items()] == []
    assert order == ["query", "passage"]


async def test_closing_stops_the_work_in_hand() -> None:
    thread = InferenceThread("small", queue_max=2)
    work = Counting()
    thread.submit(work)
    await eventually(lambda: work.said)
    await asyncio.to_thread(thread.close)
    assert work.stopped.is_set()
    with pytest.raises(EngineFailed):
        thread.submit(Counting())


@pytest.fixture
def helped():
    made = InferenceThread("small", queue_max=2, helpers=2, helped_from=1)
    yield made
    made.close()


async def test_helpers_work_side_by_side_yield_their_cores_and_leave_a_thread_to_who_asks(helped) -> None:
    first, second = Counting(), Counting()
    helped.submit(first, priority=1)
    helped.submit(second, priority=1)
    await eventually(lambda: first.said and second.said)
    assert helped.queue == 2
    assert [work.nice - os.nice(0) for work in (first, second)] == [HELPER_NICE, HELPER_NICE]
    query = Counting()
    helped.submit(query)
    await eventually(lambda: query.said)  # while both passages are still in hand
    for work in (first, second, query):
        work.end.set()


async def test_a_helper_leaves_alone_what_somebody_waits_for(helped) -> None:
    query, passage, next_query = Counting(), Counting(), Counting()
    helped.submit(query)
    await eventually(lambda: query.said)
    helped.submit(next_query)
    helped.submit(passage, priority=1)  # behind the query in the line, and yet begun
    await eventually(lambda: passage.said)
    assert not next_query.said
    query.end.set()
    await eventually(lambda: next_query.said)
    assert next_query.nice == os.nice(0)
    assert passage.nice == os.nice(0) + HELPER_NICE
    for work in (passage, next_query):
        work.end.set()


async def test_closing_stops_what_a_helper_has_in_hand(helped) -> None:
    works = [Counting(), Counting()]
    for work in works:
        helped.submit(work, priority=1)
    await eventually(lambda: all(work.said for work in works))
    await asyncio.to_thread(helped.close)
    assert all(work.stopped.is_set() for work in works)


async def test_one_of_two_that_does_not_move_shows(helped) -> None:
    hung, moving = threading.Event(), Counting()
    helped.submit(lambda job: hung.wait(5), priority=1)
    helped.submit(moving, priority=1)
    await eventually(lambda: helped.progress_age_s > 0.3 and moving.said)
    hung.set()
    moving.end.set()
