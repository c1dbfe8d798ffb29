"""Waits on what a page and the instance behind it have done."""

from collections.abc import Callable
from typing import Any

from tests.e2e.fake_instance import FakeInstance


def until(page: Any, check: Callable[[], bool]) -> None:
    for _ in range(1_500):
        if check():
            return
        page.wait_for_timeout(10)
    raise AssertionError("it did not happen")


def standing(fake: FakeInstance, page: Any, count: int = 1) -> None:
    """Wait until the socket was asked for changes so often, and what it then reads anew is read."""
    until(page, lambda: len(fake.feed.watched) >= count)
    page.wait_for_load_state("networkidle")


def ticking(page: Any, wanted: Any) -> None:
    """Let the page's clock go on, ten minutes at most, until this is shown."""
    for _ in range(600):
        if wanted.count():
            return
        page.clock.run_for(1_000)
    raise AssertionError("it was not shown")
