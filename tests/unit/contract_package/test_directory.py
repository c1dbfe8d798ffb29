"""The directory of actors, where the control plane does not answer."""

import threading

import pytest

from perenne.client import RayDirectory
from perenne.errors import DeadlineExceeded


async def test_a_stream_is_given_up_when_its_name_cannot_be_looked_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking the name up had no timeout: with the control plane away, a follow hung where a call did not."""
    released = threading.Event()
    monkeypatch.setattr(RayDirectory, "_resolve", lambda self, name: released.wait(20))
    try:
        with pytest.raises(DeadlineExceeded):
            async for _ in RayDirectory().stream("RunHost", "follow", silence_s=0.1):
                pass
    finally:
        released.set()
