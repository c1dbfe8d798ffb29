"""The npm `openai` client, run by Node, against the edge."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.contract.edge_house import secret
from tests.contract.house_thread import house_thread

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "node"


def test_the_client_of_another_language_is_served(tmp_path: Path) -> None:
    if not (HERE / "node_modules" / "openai").exists():
        assert not os.environ.get("CI"), "the npm client is missing: make dev"
        pytest.skip("the npm client is missing: make dev")
    with house_thread(tmp_path) as house:
        script = f'. .ci/node && node "{HERE / "client.mjs"}" "$@"'
        command = ["sh", "-c", script, "client", house.address, secret("owner")]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got.pop("length") == pytest.approx(1, abs=1e-3)
    assert got == {
        "models": ["perenne", "perenne:default", "tiny-language", "use-multilingual-q8"],
        "whole": "one two three",
        "streamed": "It was built in 1863.",
        "called": "weather",
        "response": "It was built in 1863.",
        "dimension": 512,
        "store": [1, "in_progress"],
        "content": "built in 1863",
        "error": [True, "not_found"],
    }
