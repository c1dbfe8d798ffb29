"""One instance for all live tests. A test that breaks or ends an instance makes its own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.live.running import RunningInstance


@pytest.fixture(scope="session")
def instance() -> Iterator[RunningInstance]:
    running = RunningInstance()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def client(instance: RunningInstance) -> Iterator[httpx.Client]:
    with instance.client() as held:
        yield held
