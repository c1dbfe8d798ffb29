"""`perenne` as a program: what it writes where, and its exit codes, against a running instance."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from perenne.cli.troubles import Exit
from tests.live.running import RunningInstance, free_port, mark_of_run

PERENNE = Path(sys.executable).with_name("perenne")
FILE_FIELDS = {"path", "document_id", "state", "reason", "code", "chunks"}
EVERY_PART = frozenset(("edge", "RunHost", "StoreWriter", "StoreReader-0", "IndexShard", "embedding", "language"))
HIT_FIELDS = {"document_id", "external_id", "title", "page", "start", "end", "text", "score"}
GUIDE = """# The lighthouse of Cabo Verano

The lighthouse of Cabo Verano was built in 1847 by the engineer Marta Quiroga.

Its lamp can be seen from 31 nautical miles away on a clear night.
"""
LINES = [
    {"id": "orla-1", "title": "The bridge at Orla", "text": "The bridge at Orla is 212 metres long and was opened in May."},
    {"id": "orla-2", "title": "The mill at Orla", "text": "The mill at Orla has ground rye since 1790, and never wheat."},
]


def perenne(instance: RunningInstance, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PERENNE, *words], env={**instance.environment, **environment},
        capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What a command that went well wrote: a JSON object on every line, and nothing else."""
    assert done.returncode == 0, (done.stdout, done.stderr)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(isinstance(one, dict) for one in found), done.stdout
    return found


def sentence(done: subprocess.CompletedProcess[str], exit: Exit) -> str:
    """What a command that failed with --json said: one line on standard error, and the same as one object on standard output."""
    assert done.returncode == exit, (done.stdout, done.stderr)
    (told,) = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert done.stderr == f"perenne: {told['message']}; type: {told['next']}\n"
    assert done.stderr.startswith("perenne: ")
    assert done.stderr.splitlines(keepends=True) == [f"{done.stderr.strip()}\n"]
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "cabo-verano.md").write_text(GUIDE)
    (folder / "noise.pdf").write_bytes(b"\x00" + os.urandom(4096))
    (folder / "orla.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return folder


@pytest.fixture(scope="module")
def project() -> str:
    return f"command-line-{mark_of_run()}"


@pytest.fixture(scope="module")
def added(instance: RunningInstance, folder: Path, project: str) -> subprocess.CompletedProcess[str]:
    files = (folder / "cabo-verano.md", folder / "noise.pdf")
    return perenne(instance, "add", *files, "--project", project, "--wait", "--json")


@pytest.fixture(scope="module")
def lines(instance: RunningInstance, folder: Path, project: str) -> subprocess.CompletedProcess[str]:
    return perenne(instance, "add", "--jsonl", folder / "orla.jsonl", "--project", project, "--wait", "--json")


def test_add_tells_what_became_of_each_file_and_a_refusal_is_an_outcome(
    added: subprocess.CompletedProcess[str], folder: Path
) -> None:
    told = {Path(one["path"]).name: one for one in objects(added)}
    assert set(told) == {"cabo-verano.md", "noise.pdf"}
    assert len(added.stdout.splitlines()) == 2
    assert all(set(one) >= FILE_FIELDS for one in told.values())
    good, bad = told["cabo-verano.md"], told["noise.pdf"]
    assert good["path"] == str(folder / "cabo-verano.md")
    assert (good["state"], good["reason"]) == ("indexed", None)
    assert good["document_id"]
    assert good["chunks"] >= 1
    assert (bad["state"], bad["chunks"]) == ("refused", 0)
    assert bad["document_id"]
    assert bad["reason"]
    assert bad["code"]


def test_add_of_what_is_not_there_is_said_and_fails(instance: RunningInstance, folder: Path, project: str) -> None:
    done = perenne(instance, "add", folder / "nowhere.md", "--project", project, "--wait", "--json")
    assert done.returncode == 1
    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told["state"], told["document_id"], told["chunks"]) == ("failed", None, 0)
    assert "No such file" in told["reason"]


def test_add_of_json_lines_is_one_object_with_its_counts(lines: subprocess.CompletedProcess[str], folder: Path) -> None:
    (told,) = objects(lines)
    assert told["path"] == str(folder / "orla.jsonl")
    assert (told["state"], told["reason"]) == ("indexed", None)
    assert told["chunks"] == len(LINES)
    assert told["job_id"]


def test_search_gives_hits_with_places_and_the_ids_that_lines_came_with(
    instance: RunningInstance,
    client: httpx.Client,
    added: subprocess.CompletedProcess[str],
    lines: subprocess.CompletedProcess[str],
    project: str,
) -> None:
    (found,) = objects(
        perenne(instance, "search", "How long is the bridge at Orla?", "--project", project, "-k", "3", "--json")
    )
    hits = found["hits"]
    assert 1 <= len(hits) <= 3
    assert all(set(hit) >= HIT_FIELDS for hit in hits)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert hits[0]["external_id"] == "orla-1"
    assert hits[0]["title"] == "The bridge at Orla"
    assert "212 metres" in hits[0]["text"]

    (found,) = objects(perenne(instance, "search", "lighthouse Marta Quiroga", "--project", project, "-k", "1", "--json"))
    (hit,) = found["hits"]
    guide = next(one for one in objects(added) if one["state"] == "indexed")
    assert (hit["document_id"], hit["external_id"], hit["page"]) == (guide["document_id"], None, None)
    place = {"start": hit["start"], "end": hit["end"]}
    assert client.get(f"/api/documents/{hit['document_id']}/text", params=place).json()["text"] == hit["text"]


def test_ask_gives_an_answer_and_every_citation_quotes_its_document(
    instance: RunningInstance, added: subprocess.CompletedProcess[str], project: str
) -> None:
    (told,) = objects(perenne(instance, "ask", "Who built the lighthouse of Cabo Verano?", "--project", project, "--json"))
    assert told["state"] == "done"
    assert told["answer"].strip()
    assert any("Quiroga" in source["text"] for source in told["sources"])
    assert isinstance(told["citations"], list)
    guide = next(one for one in objects(added) if one["state"] == "indexed")
    for citation in told["citations"]:  # the smallest model may decline, and then cites nothing
        if citation["document_id"] == guide["document_id"]:
            assert citation["quote"].strip() in GUIDE


def test_lists_are_an_object_a_line(
    instance: RunningInstance,
    added: subprocess.CompletedProcess[str],
    lines: subprocess.CompletedProcess[str],
    project: str,
) -> None:
    projects = {one["name"]: one for one in objects(perenne(instance, "projects", "list", "--json"))}
    assert {"default", project} <= set(projects)
    assert projects[project]["documents"] >= 1 + len(LINES)
    jobs = {one["id"]: one for one in objects(perenne(instance, "jobs", "list", "--project", project, "--json"))}
    assert {one["job_id"]: one["state"] for one in objects(added)}.items() <= {
        job_id: {"done": "indexed"}.get(job["state"], job["state"]) for job_id, job in jobs.items()
    }.items()
    assert jobs[objects(lines)[0]["job_id"]]["state"] == "done"


def test_a_key_is_made_works_is_listed_without_its_secret_and_is_revoked(instance: RunningInstance) -> None:
    label = f"reader {mark_of_run()}"
    (made,) = objects(perenne(instance, "keys", "create", label, "--scope", "read", "--json"))
    assert made["secret"].startswith("pk_")
    assert (made["label"], made["scopes"]) == (label, ["read"])
    objects(perenne(instance, "projects", "list", "--json", PERENNE_KEY=made["secret"]))

    listed = perenne(instance, "keys", "list", "--json")
    assert [one["revoked_at"] for one in objects(listed) if one["id"] == made["id"]] == [None]
    assert made["secret"] not in listed.stdout

    (revoked,) = objects(perenne(instance, "keys", "revoke", made["id"], "--json"))
    assert revoked["id"] == made["id"]
    assert revoked["revoked_at"]
    assert instance.until(lambda: perenne(instance, "projects", "list", PERENNE_KEY=made["secret"]).returncode == Exit.KEY, 5)
    assert "key" in sentence(perenne(instance, "projects", "list", "--json", PERENNE_KEY=made["secret"]), Exit.KEY)


@pytest.mark.parametrize(
    "command", [("search", "lighthouse"), ("ask", "Where is the lighthouse?"), ("jobs", "list")], ids=lambda words: words[0]
)
def test_a_project_that_is_not_there_is_said_in_one_sentence(instance: RunningInstance, command: tuple[str, ...]) -> None:
    said = sentence(perenne(instance, *command, "--project", "nowhere-at-all", "--json"), Exit.NOT_FOUND)
    assert "nowhere-at-all" in said


def test_an_instance_that_does_not_run_is_said_with_how_to_start_it(instance: RunningInstance, tmp_path: Path) -> None:
    # it took half a minute to say so: the client waited for an instance that never ran to come back
    begun = time.monotonic()
    elsewhere = {"PERENNE_HOME": str(tmp_path), "PERENNE_PORT": str(free_port())}
    assert "perenne up" in sentence(perenne(instance, "projects", "list", "--json", **elsewhere), Exit.AWAY)
    assert "perenne up" in sentence(perenne(instance, "ask", "Anything?", "--json", **elsewhere), Exit.AWAY)
    assert time.monotonic() - begun < 20.0  # two programs' starts on a busy PC


def test_one_question_is_followed_by_its_id_through_every_process(
    instance: RunningInstance, added: subprocess.CompletedProcess[str], project: str
) -> None:
    assert "cabo-verano.md" in added.stdout, added.stderr
    asked = ""
    for _ in range(3):  # on a PC that is busy, a search may go on without the half that is late
        asked = mark_of_run()
        lines = followed(instance, project, asked)
        if set(map(part_of, lines)) >= EVERY_PART:
            break
    assert set(map(part_of, lines)) >= EVERY_PART, lines
    for part in ("edge", "RunHost"):
        assert any(part_of(line) == part and "run_id" in line and "request_id" in line for line in lines), part
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    for path in (instance.home / "logs").iterdir():
        assert asked not in path.read_text(errors="replace"), path
        assert path.stat().st_mode & 0o077 == 0, path


def followed(instance: RunningInstance, project: str, word: str) -> list[dict[str, Any]]:
    """Ask a question that has this word in it; what the logs say of it, once the host of answers has said all."""
    request_id = f"followed-{mark_of_run()}"
    sent = {"text": f"When was the lighthouse of Cabo Verano built? {word}", "project": project, "options": {"grounded": True}}
    with instance.client(timeout_s=240.0) as http:
        posted = http.post(f"/api/conversations/cnv_{word}/messages", json=sent, headers={"X-Request-ID": request_id})
        assert posted.raise_for_status().headers.get_list("x-request-id") == [request_id]
        run = posted.json()["run"]["id"]
        assert instance.until(lambda: http.get(f"/api/runs/{run}").json()["state"] not in ("queued", "running"), 240)
        assert len(http.get("/livez").headers.get_list("x-request-id")) == 1
    lines: list[dict[str, Any]] = []

    def all_said() -> (
        bool
    ):  # it says so a moment after the end is on disk, and so can be read; a nudge may be slower than the sweep
        lines[:] = objects(perenne(instance, "logs", "--request", request_id, "--json"))
        said = {line["message"].partition(",")[0] for line in lines if line["actor"] == "RunHost"}
        return {"there is a run to answer", "the answer is done"} <= said

    assert instance.until(all_said, 60), lines
    assert {line.get("request_id") for line in lines} <= {request_id, None}
    assert {line.get("run_id") for line in lines} <= {run, None}
    return lines


def part_of(line: dict[str, Any]) -> str:
    """Whose line it is; shards are told apart by space and number."""
    actor: str = line["actor"]
    return "IndexShard" if actor.startswith("IndexShard-") else actor
