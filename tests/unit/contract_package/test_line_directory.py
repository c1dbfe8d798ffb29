"""An instance's owners by their socket files alone, as commands ask them."""

import time
from pathlib import Path

import pytest

from perenne.errors import NotFound, Unavailable
from perenne.line_directory import LineDirectory
from perenne.line_owner import LineOwner
from perenne.testing import eventually


class Owner:
    """Answers who it is."""

    def __init__(self, word: str) -> None:
        self.word = word

    async def say(self, *, loudly: bool) -> str:
        return self.word.upper() if loudly else self.word

    async def refuse(self) -> None:
        raise NotFound("channel", "x")


async def test_an_owner_is_found_in_the_folder_of_whatever_node_and_again_after_its_death(tmp_path: Path) -> None:
    (tmp_path / "lines" / "gone").mkdir(parents=True)
    (tmp_path / "lines" / "gone" / "Owner.sock").touch()  # of a node that is no more: nobody listens
    LineOwner("Owner", Owner("first"), frozenset({"say", "refuse"}), tmp_path / "lines" / "node").begin()
    directory = LineDirectory(str(tmp_path))
    assert await directory.call("Owner", "say", timeout_s=5.0, loudly=True) == "FIRST"
    with pytest.raises(NotFound):
        await directory.call("Owner", "refuse", timeout_s=5.0)
    LineOwner("Owner", Owner("second"), frozenset({"say"}), tmp_path / "lines" / "later").begin()
    other = LineDirectory(str(tmp_path))
    await eventually((tmp_path / "lines" / "later" / "Owner.sock").exists)
    assert await other.call("Owner", "say", timeout_s=5.0, loudly=False) == "second"


async def test_what_is_not_there_is_away_within_two_seconds(tmp_path: Path) -> None:
    directory = LineDirectory(str(tmp_path))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="not running"):
        await directory.call("Owner", "say", timeout_s=0.1)
    with pytest.raises(Unavailable, match="not running"):
        await directory.call("Owner", "say", timeout_s=60.0)
    assert time.monotonic() - began < 5.0
    with pytest.raises(Unavailable, match="stream"):
        await anext(directory.stream("Owner", "follow", silence_s=1.0))
