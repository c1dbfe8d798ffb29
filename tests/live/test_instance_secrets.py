"""What is written beside the database while an instance works: no key, no ticket, no question, no document's words, no password."""

import base64
import json
import secrets
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.crashes import Crashes
from tests.live.running import RunningInstance

_DATABASE = ("store", "blobs", "index")  # where documents belong


@pytest.fixture(scope="module")
def used() -> Iterator[tuple[RunningInstance, dict[str, str]]]:
    """An instance that was asked, and asked badly; and every secret that passed through it, by what it is."""
    running = RunningInstance()
    try:
        running.start()
        yield running, use(running)
    finally:
        running.close()


def use(running: RunningInstance) -> dict[str, str]:
    word = {
        name: f"{name}-{secrets.token_hex(8)}"
        for name in ("text", "title", "question", "password", "wrong", "broken", "query", "member")
    }
    words = {
        **word,
        "key": running.key,
        "bad_key": f"pk_{secrets.token_urlsafe(32)}",
    }
    with running.client(timeout_s=120.0) as http:
        files = {"file": (f"{word['title']}.txt", f"The lighthouse {word['text']} was built in 1863. " * 20)}
        added = http.post("/api/projects/default/documents", files=files).raise_for_status().json()
        for name, content in (
            ("a.pdf", b"%PDF-1.7 " + word["broken"].encode()), ("a.docx", b"PK\x03\x04" + word["broken"].encode()),
            ("a.zip", b"PK\x05\x06" + word["broken"].encode()), ("a.jsonl", b'{"id": 1, "text": ' + word["broken"].encode()),
            ("a.ipynb", b'{"cells": [' + word["broken"].encode()),
        ):  # fmt: skip
            sent = {"title": word["title"], "password": word["password"]}
            http.post("/api/projects/default/documents", files={"file": (name, content)}, data=sent)
        http.post(
            "/api/projects/default/jsonl",
            files={"file": ("a.jsonl", f'{{"id": "1", "text": "{word["member"]}"}}\n{word["broken"]}\n')},
        )
        assert running.until(lambda: _state(http, added["document"]["id"]) == "indexed", 180)
        http.post("/api/search", json={"query": f"{word['query']} lighthouse"}).raise_for_status()
        posted = http.post(
            "/api/conversations/cnv_s/messages", json={"text": f"When was the lighthouse {word['question']} built?"}
        )
        run = posted.raise_for_status().json()["run"]["id"]
        assert running.until(lambda: http.get(f"/api/runs/{run}").json()["state"] not in ("queued", "running"), 180)
        chat = {"model": "perenne", "messages": [{"role": "user", "content": word["question"]}], "max_tokens": 8}
        http.post("/v1/chat/completions", json=chat)
        http.post("/v1/embeddings", json={"model": "embedding", "input": word["query"]})
        made = http.post("/api/keys", json={"label": "brief", "scopes": ["read"]}).json()
        words["made_key"] = made["secret"]
        words["ticket"] = http.post("/api/ws-ticket").json()["ticket"].rpartition(".")[2]
        http.get("/ws", params={"ticket": words["ticket"]})
        http.delete(f"/api/keys/{made['key']['id']}")
        # What is wrong is told to who sent it, not to the log.
        for body in (
            word["wrong"],
            f'{{"text": "{word["wrong"]}", "{word["wrong"]}": 1}}',
            f'{{"query": ["{word["wrong"]}"]}}',
        ):
            for path in (
                "/api/search",
                "/api/conversations/cnv_s/messages",
                "/v1/chat/completions",
                "/v1/responses",
                "/api/keys",
            ):
                http.post(path, content=body, headers={"Content-Type": "application/json"})
        http.get(f"/api/documents/{word['wrong']}")
        http.get("/api/documents", params={"after": word["wrong"], "project": word["wrong"]})
    with httpx.Client(base_url=running.address, trust_env=False, timeout=60) as http:
        for key in (words["bad_key"], words["made_key"]):
            http.get("/api/me", headers={"Authorization": f"Bearer {key}"})
            http.get("/readyz", headers={"Authorization": f"Bearer {key}"})
        http.get("/api/me", headers={"Authorization": f"Basic {words['bad_key']}", "X-Api-Key": words["bad_key"]})
    running.kill_child("RunHost")  # a death tells its story
    crashes = Crashes(running.home / "crashes")
    assert running.until(lambda: any(crash.name == "RunHost" for crash in crashes.read()), 30)
    running.await_ready()
    return words


def _state(http: httpx.Client, document: str) -> str:
    return http.get(f"/api/documents/{document}").json()["state"]


def written(running: RunningInstance) -> list[Path]:
    """Every file of the instance but where documents belong, and the one that holds the owner's key."""
    home, ray = running.home, Path(running.settings.ray_dir)
    inside = [path for path in home.rglob("*") if path.relative_to(home).parts[0] not in (*_DATABASE, "key")]
    return [path for path in (*inside, *ray.rglob("*")) if path.is_file() and not path.is_symlink()]


def test_no_log_holds_a_secret_or_what_a_document_says(used: tuple[RunningInstance, dict[str, str]]) -> None:
    running, words = used
    files = written(running)
    assert len([path for path in files if path.suffix in (".log", ".out", ".err")]) > 20  # Ray's own alone are more
    found: list[str] = []
    for path in files:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        for name, word in words.items():
            for form in (word.encode(), base64.b64encode(word.encode()), json.dumps(word).encode()[1:-1]):
                if form in content:
                    found.append(f"{name} in {path}: {content[max(0, content.find(form) - 80) :][:200]!r}")
                    break
    assert found == []


def test_the_archive_for_a_bug_report_holds_nothing_of_the_owners(
    used: tuple[RunningInstance, dict[str, str]], tmp_path: Path
) -> None:
    running, words = used
    path = tmp_path / "report.zip"
    done = running.command("report", "--to", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size_bytes"] == path.stat().st_size
    assert path.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name).decode() for name in archive.namelist()}
    owners = {
        **words,
        "home": str(running.home),
        "models": running.settings.models_dir,
        "ray": running.settings.ray_dir,
        "lighthouse": "lighthouse",
    }
    found = [f"{name} in {file}" for file, text in held.items() for name, word in owners.items() if word in f"{file} {text}"]
    assert found == []
    status = json.loads(held["status.json"])
    assert status["running"] is True
    assert "StoreWriter" in {child["name"] for child in status["children"]}
    assert json.loads(held["crashes.json"])[-1]["name"] == "RunHost"
    assert [name for name in held if name.startswith("logs/ray/worker-")], "the words of our own processes come first"
    again = running.command("report", "--to", str(path))
    assert again.returncode == 2, "it does not write over a file"
    assert "File exists" in again.stderr


def test_the_search_finds_what_is_there(used: tuple[RunningInstance, dict[str, str]]) -> None:
    """The same words are in the database and the key's file: the test above looks for what exists."""
    running, words = used
    held = b"".join(path.read_bytes() for path in running.home.rglob("*") if path.is_file() and "run" not in path.parts)
    for name in ("text", "title", "question", "key"):
        assert words[name].encode() in held, name


def test_no_command_line_holds_a_key(used: tuple[RunningInstance, dict[str, str]]) -> None:
    running, words = used
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "ray::" in lines
    for name in ("key", "made_key", "bad_key", "password", "ticket"):
        assert words[name] not in lines, name
    assert running.root_pid


def test_nothing_in_the_home_is_open_to_other_users(used: tuple[RunningInstance, dict[str, str]]) -> None:
    running, _ = used
    home = running.home
    opened = [
        path
        for path in home.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o077 and not _behind_closed(path, home)
    ]
    assert opened == []


def _behind_closed(path: Path, home: Path) -> bool:
    """A folder above it, from the home on, is the owner's alone."""
    return any(above.stat().st_mode & 0o077 == 0 for above in path.parents if above == home or home in above.parents)
