"""A watched folder, an archive and a locked file, by the command and over a running instance."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.live.running import RunningInstance, mark_of_run
from tests.unit import ingest_files as files
from tests.unit.test_ingest_archives import locked

PERENNE = Path(sys.executable).with_name("perenne")
SECRET = "open sesame of the cape"


def perenne(instance: RunningInstance, *words: str | Path, told: str = "") -> list[dict[str, Any]]:
    done = subprocess.run(
        [PERENNE, *words], env=instance.environment, capture_output=True, text=True, timeout=240, check=False, input=told
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def documents(client: httpx.Client, project: str) -> dict[str, str]:
    """State by title."""
    listed = client.get("/api/documents", params={"project": project}).json()["items"]
    return {document["title"]: document["state"] for document in listed}


def test_a_watched_folder_is_followed_and_outlives_its_host(
    instance: RunningInstance, client: httpx.Client, tmp_path: Path
) -> None:
    folder, project = tmp_path / "papers", f"watched-{mark_of_run()}"
    folder.mkdir()
    (folder / "a.csv").write_text("lighthouse,built\nCabo Verano,1847\nPunta Norte,1863\n")
    (made,) = perenne(instance, "watch", "add", folder, "--project", project, "--json")
    assert instance.until(lambda: documents(client, project) == {"a.csv": "indexed"}, 90)
    (folder / "box.zip").write_bytes(files.archive({"mill.rtf": rb"{\rtf1\ansi The mill at Orla is from 1790.}"}))
    wanted = {"a.csv": "indexed", "box.zip": "indexed", "box.zip/mill.rtf": "indexed"}
    assert instance.until(lambda: documents(client, project) == wanted, 90)
    before = instance.child("IngestHost").pid
    os.kill(before, signal.SIGKILL)
    (folder / "a.csv").unlink()
    assert instance.until(lambda: set(documents(client, project)) == {"box.zip", "box.zip/mill.rtf"}, 120)
    (state,) = [s for s in perenne(instance, "watch", "list", "--json") if s["watch"]["id"] == made["id"]]
    assert (state["phase"], state["files"]) == ("watching", 1)
    perenne(instance, "watch", "remove", made["id"], "--json")
    assert made["id"] not in [s["watch"]["id"] for s in perenne(instance, "watch", "list", "--json")]


def test_a_password_over_standard_input_opens_an_archive_and_is_in_no_file(
    instance: RunningInstance, client: httpx.Client, tmp_path: Path
) -> None:
    project = f"locked-{mark_of_run()}"
    path = tmp_path / "letters.zip"
    path.write_bytes(locked({"one.txt": b"Dear Bo, the lamp was lit in 1863."}, SECRET.encode()))
    (refused,) = perenne(instance, "add", path, "--project", project, "--wait", "--json")
    assert (refused["state"], refused["code"]) == ("refused", "password_needed")
    (added,) = perenne(instance, "add", path, "--project", project, "--wait", "--json", "--password-stdin", told=SECRET + "\n")
    assert added["state"] == "indexed"
    assert instance.until(lambda: documents(client, project).get("letters.zip/one.txt") == "indexed", 90)
    held = [found for found in instance.home.rglob("*") if found.is_file() and SECRET.encode() in found.read_bytes()]
    assert held == []
