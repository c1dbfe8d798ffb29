import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from actors.models.catalogue import Source
from actors.models.pull import Places, pull
from actors.models.pull_progress import read_progress
from actors.models.weights import Weights
from perenne.errors import WeightsUnavailable
from perenne.testing import eventually

# The child that is killed: the catalogue of the real module is replaced by one entry with the test's server as its hub.
ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import sys
from pathlib import Path
from actors.models.catalogue import read_catalogue
from actors.models.pull import Places, pull
pull(read_catalogue(Path(sys.argv[1]))["small"], Path(sys.argv[2]), Places(sys.argv[3]))
"""


def test_a_file_comes_from_the_hub_and_is_taken_for_installed(tmp_path, server, entry_from, hub, content) -> None:
    entry = entry_from(hub)
    weights = pull(entry, tmp_path, Places(server.url))
    assert weights.paths[0].read_bytes() == content
    assert Weights(entry, tmp_path).is_installed
    assert read_progress(weights.progress).phase == "done"
    pull(entry, tmp_path, Places(server.url))
    assert len(server.asked) == 1  # the second pull asked for nothing


def test_a_cut_connection_is_gone_on_from_by_range(tmp_path, server, entry_from, hub, content) -> None:
    server.cut_after = 400_000
    weights = pull(entry_from(hub), tmp_path, Places(server.url))
    assert weights.paths[0].read_bytes() == content
    assert server.asked[0] is None
    assert server.asked[1] is not None
    assert int(server.asked[1].removeprefix("bytes=").rstrip("-")) > 0
    assert server.sent == len(content)  # not a byte twice


def test_a_server_without_ranges_is_read_from_the_start_again(tmp_path, server, entry_from, hub, content) -> None:
    server.ranges, server.cut_after = False, 400_000
    assert pull(entry_from(hub), tmp_path, Places(server.url)).paths[0].read_bytes() == content


def test_a_wrong_hash_is_refused_and_nothing_is_put_in_place(tmp_path, server, entry_from, hub, content) -> None:
    entry = entry_from(hub, sha256="0" * 64)
    with pytest.raises(WeightsUnavailable, match=r"wrong hash: sha256 [0-9a-f]{64}, expected 0000"):
        pull(entry, tmp_path, Places(server.url))
    weights = Weights(entry, tmp_path)
    assert not weights.paths[0].exists()
    assert not list(weights.partial.glob("*.part"))  # bytes that were refused are not gone on from
    assert read_progress(weights.progress).phase == "failed"


def test_the_next_source_is_tried_when_one_lies(tmp_path, server, entry_from, hub, content) -> None:
    liar = Source(url=f"{server.url}/other")
    good = tmp_path / "good"
    good.mkdir()
    server.content = b"x" * len(content)
    with pytest.raises(WeightsUnavailable):
        pull(entry_from(liar, hub), tmp_path / "models", Places(server.url))
    (good / "weights.bin").write_bytes(content)
    weights = pull(entry_from(liar, hub), tmp_path / "models", Places(server.url, folders=(good,)))
    assert weights.paths[0].read_bytes() == content


def test_the_hub_is_not_asked_when_it_is_switched_off(tmp_path, server, entry_from, hub) -> None:
    places = Places.of({"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)})
    with pytest.raises(WeightsUnavailable, match="switched off"):
        pull(entry_from(hub), tmp_path, places)
    assert server.asked == []


def test_a_file_that_changed_after_it_was_verified_is_not_taken(tmp_path, server, entry_from, hub, content) -> None:
    entry = entry_from(hub)
    weights = pull(entry, tmp_path, Places(server.url))
    weights.paths[0].write_bytes(content[:-1] + b"?")
    os.utime(weights.paths[0], ns=(1, 1))
    assert not weights.is_installed
    assert "sha256" in weights.wrong()["weights.bin"]
    assert pull(entry, tmp_path, Places(server.url)).paths[0].read_bytes() == content


async def test_a_puller_killed_in_the_middle_is_gone_on_from(tmp_path, server, entry_from, hub, content) -> None:
    entry = entry_from(hub)
    listing = tmp_path / "c.yaml"
    listing.write_text(yaml.safe_dump({"small": entry.model_dump(mode="json", exclude={"id"})}))
    server.slow.set()
    weights = Weights(entry, tmp_path / "models")
    command = [sys.executable, "-c", CHILD, str(listing), str(tmp_path / "models"), server.url]
    child = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - it is to be killed
    # what the server sent may lie unread at a child that a busy machine leaves waiting
    await eventually(lambda: any(part.stat().st_size for part in weights.partial.glob("*.part")), 20)
    child.send_signal(signal.SIGKILL)
    child.wait(5)
    assert not weights.paths[0].exists()
    assert not weights.is_installed
    server.slow.clear()
    pull(entry, tmp_path / "models", Places(server.url))
    assert weights.paths[0].read_bytes() == content
    assert server.asked[-1] is not None, "it began again from the first byte"


async def test_two_pullers_fetch_it_once(tmp_path, server, entry_from, hub) -> None:
    entry = entry_from(hub)
    await asyncio.gather(*(asyncio.to_thread(pull, entry, tmp_path, Places(server.url)) for _ in range(3)))
    assert len(server.asked) == 1
