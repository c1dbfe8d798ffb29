"""The end of the tree: each owner may put its things in order, for a short time, before its process ends."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from cluster import applications, spawning
from cluster.tending import Tending
from cluster.tree import build_tree, load
from perenne.settings import load_settings
from perenne.testing import FakeDirectory


class Owner:
    def __init__(self, said: list[tuple[str, str]], name: str) -> None:
        self._said, self._name = said, name

    async def close(self) -> None:
        self._said.append(("closed", self._name))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was closed and ended, in order; Ray's own part is left out."""
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(applications, "shut_down", lambda: said.append(("shut down", "Serve")))
    monkeypatch.setattr(spawning, "end", lambda name, *, restart: said.append(("ended", name)))
    return said


def tree(tmp_path: Path, said: list[tuple[str, str]]) -> tuple[Tending, FakeDirectory, list[str]]:
    settings = load_settings({"PERENNE_HOME": str(tmp_path)})
    actors = [child for child in build_tree(settings) if child.kind == "actor"]
    directory = FakeDirectory(**{child.name: Owner(said, child.name) for child in actors})
    return Tending(settings, directory), directory, [child.name for child in actors]


async def test_owners_are_closed_before_they_end_and_the_writer_last(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    tending, _, names = tree(tmp_path, said)
    settings = load_settings({"PERENNE_HOME": str(tmp_path)})
    await tending.stop()
    await tending.stop()
    assert [name for what, name in said if what == "ended"] == names[::-1]
    keeping = [child.name for child in build_tree(settings) if child.kind == "actor" and hasattr(load(child.code), "close")]
    assert {"StoreWriter", "StoreReader-0"} <= set(keeping)
    for name in keeping:
        assert said.index(("closed", name)) == said.index(("ended", name)) - 1
    assert said[0] == ("shut down", "Serve")
    assert said[-1] == ("ended", "StoreWriter")


async def test_an_owner_that_hangs_or_is_away_holds_the_stop_up_for_a_moment_only(
    tmp_path: Path, said: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.tending.CLOSE_S", 0.2)
    tending, directory, names = tree(tmp_path, said)
    directory.hang("StoreWriter")
    directory.kill("StoreReader-0")
    begun = time.monotonic()
    async with asyncio.timeout(20):
        await tending.stop()
    assert time.monotonic() - begun < 10
    ended: list[Any] = [name for what, name in said if what == "ended"]
    assert ended == names[::-1]
