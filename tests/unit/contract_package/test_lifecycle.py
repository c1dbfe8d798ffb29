import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from perenne.errors import PerenneError, Unavailable
from perenne.lifecycle import Lifecycle, local_backoff_s
from perenne.messages.health import Go
from perenne.settings import Settings, load_settings


class Supervisor:
    """A directory in which only the Supervisor is, with answers given beforehand; then it is away."""

    def __init__(self, *answers: Go) -> None:
        self.answers, self.asked = list(answers), 0

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        self.asked += 1
        if not self.answers:
            raise Unavailable(name)
        return self.answers.pop(0)

    def stream(self, name: str, method: str, /, *, silence_s: float, **kwargs: Any) -> Any:
        raise PerenneError(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(tmp_path)})


async def test_it_recovers_once_the_supervisor_says_go(settings: Settings) -> None:
    done: list[int] = []
    supervisor = Supervisor(Go(decision="wait", wait_s=0.1), Go(decision="go"))
    life = Lifecycle("X", settings, supervisor, lambda: done.append(1))
    life.begin()
    await life.ready(within_s=5.0)
    assert done == [1]
    assert supervisor.asked == 2
    assert life.health().status == "ready"


async def test_a_recovery_that_takes_long_says_how_far_it_is(settings: Settings) -> None:
    told, go_on = threading.Event(), threading.Event()

    def recover() -> None:
        life.tell("making full text anew: 500 of 900 passages")
        told.set()
        go_on.wait(5.0)

    life = Lifecycle("X", settings, Supervisor(), recover)
    life.begin()
    assert await asyncio.to_thread(told.wait, 5.0)
    assert (life.health().status, life.health().detail) == ("recovering", "making full text anew: 500 of 900 passages")
    go_on.set()
    await life.ready(within_s=5.0)
    life.tell("too late")
    assert life.health().detail == ""


async def test_no_answer_means_go(settings: Settings) -> None:
    recovered: list[int] = []
    life = Lifecycle("X", settings, Supervisor(), lambda: recovered.append(1))
    life.begin()
    await life.ready(within_s=5.0)
    assert recovered == [1]


async def test_a_supervisor_that_fails_is_one_that_does_not_answer(settings: Settings) -> None:
    # Any error but ours ended the only thread that could bring the shell up: it stayed "starting" for ever.
    class Failing(Supervisor):
        async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
            raise AttributeError("no such method")

    life = Lifecycle("X", settings, Failing(), lambda: None)
    life.begin()
    await life.ready(within_s=5.0)
    assert life.health().status == "ready"


async def test_a_hundred_callers_wait_no_longer_than_one(settings: Settings) -> None:
    # Each held a thread of the default pool, which has six on two cores: the hundredth waited for the others first.
    life = Lifecycle("X", settings, Supervisor(), lambda: None)
    began = time.monotonic()
    ends = await asyncio.gather(*(life.ready(within_s=0.5) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    assert time.monotonic() - began < 3.0
    waiting = [asyncio.create_task(life.ready(within_s=20.0)) for _ in range(200)]
    life.begin()
    await asyncio.gather(*waiting)


async def test_a_recovery_that_raises_is_reported_and_tried_again(settings: Settings) -> None:
    attempts: list[float] = []

    def recover() -> None:
        attempts.append(time.monotonic())
        if len(attempts) == 1:
            raise OSError("the disk is away")

    life = Lifecycle("X", settings, Supervisor(Go(decision="go")), recover)
    life.begin()
    with pytest.raises(Unavailable, match="the disk is away"):
        await life.ready(within_s=0.2)
    assert life.health().status == "degraded"
    await life.ready(within_s=5.0)
    assert len(attempts) == 2


async def test_a_held_shell_stays_down_and_says_why(settings: Settings) -> None:
    recovered: list[int] = []
    held = Go(decision="held", wait_s=30.0, reason="restarted too often")
    life = Lifecycle("X", settings, Supervisor(held), lambda: recovered.append(1))
    life.begin()
    with pytest.raises(Unavailable, match="restarted too often"):
        await life.ready(within_s=0.5)
    assert life.health().status == "held"
    assert recovered == []


def test_the_local_backoff_starts_after_three_starts_in_a_minute_and_is_bounded() -> None:
    now = 1_000.0
    assert local_backoff_s([now] * 3, now) == 0.0
    assert local_backoff_s([now] * 4, now) == 0.5
    assert local_backoff_s([now] * 40, now) == 10.0
    assert local_backoff_s([now - 61] * 40, now) == 0.0
