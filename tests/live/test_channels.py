"""Channels of a running instance: added and tried by the command, over the owners' socket files; nothing inside is reached."""

import subprocess
from pathlib import Path

from tests.contract.sinks import HttpSink
from tests.live.running import RunningInstance
from tests.live.test_command_line import objects, perenne


def _typed(instance: RunningInstance, *words: str) -> subprocess.CompletedProcess[str]:
    return perenne(instance, "channels", *words)


def test_a_channel_is_added_and_tried_and_does_not_reach_this_pc_without_leave(instance: RunningInstance) -> None:
    sink = HttpSink()
    try:
        (made,) = objects(_typed(instance, "add", "here", sink.url("/very-secret"), "--webhook", "--json"))
        assert made["secret"].startswith("whsec_")
        done = _typed(instance, "test", "here")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "127.0.0.1 is not a public address" in done.stdout
        (listed,) = objects(_typed(instance, "list", "--json"))
        assert (listed["name"], listed["address"]) == ("here", f"http://127.0.0.1:{sink.port}/…")
        objects(_typed(instance, "remove", "here", "--json"))
        assert objects(_typed(instance, "list", "--json")) == []
        assert sink.got == []
    finally:
        sink.close()
    logs = [path for path in Path(instance.home, "logs").rglob("*") if path.is_file()]
    assert not any("very-secret" in path.read_text(errors="replace") for path in logs)
