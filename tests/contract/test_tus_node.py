"""The stock tus client of JavaScript, which the page uses too, run by Node, against the edge."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.contract.edge_house import secret
from tests.contract.house_thread import house_thread

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "node"
SIZE = (4 << 20) + 3


def test_the_stock_client_of_javascript_goes_on_and_drops(tmp_path: Path) -> None:
    if not (HERE / "node_modules" / "tus-js-client").exists():
        assert not os.environ.get("CI"), "the npm client is missing: make dev"
        pytest.skip("the npm client is missing: make dev")
    with house_thread(tmp_path) as house:
        script = f'. .ci/node && node "{HERE / "tus.mjs"}" "$@"'
        command = ["sh", "-c", script, "tus", house.address, secret("owner"), str(SIZE)]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        headers = {"Authorization": f"Bearer {secret('owner')}"}
        with httpx.Client(base_url=house.address, headers=headers, trust_env=False) as http:
            (document,) = http.get("/api/documents").json()["items"]
            sent = http.get(f"/api/documents/{document['id']}/file").content
    assert json.loads(done.stdout) == {
        "first": [1 << 20, 2 << 20],
        "second": [3 << 20, 4 << 20, SIZE],
        "same": True,
        "gone": 404,
    }
    assert (document["filename"], document["media_type"]) == ("javascript.txt", "text/plain")
    assert sent == (b"perenne " * SIZE)[:SIZE]
