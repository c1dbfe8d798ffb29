"""The archive for a bug report: what helps is in it, and nothing that is the owner's."""

import io
import json
import time
import zipfile
from pathlib import Path

import pytest

from cluster.bug_report import Veil, report, shown
from cluster.crashes import Crashes
from perenne.settings import Settings, load_settings

KEY = "pk_hZ8qvX2mN4tR7wLcPz1AyBdEfGhIjKlMnOpQrStUvWx"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "marias things"
    (home / "logs").mkdir(parents=True)
    return load_settings(
        {
            "PERENNE_HOME": str(home),
            "PERENNE_PROFILE": "tiny",
            "PERENNE_DATABASE_URL": "postgresql://maria:s3cretword@db.maria.example/perenne",
            "PERENNE_REDIS_URL": "redis://:0therword@10.1.2.3:6379/0",
        }
    )


def unpacked(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_nothing_of_the_owners_is_in_it(settings: Settings) -> None:
    lines = [
        f"2026-11-26 09:00:00 WARNING actors.ingest.host: job job_01a2171b16 of {settings.home}/blobs/ab/cd failed",
        'ValueError: expected a date, got "the lighthouse was sold to Maria"',
        f"Authorization: Bearer {KEY} was refused, {KEY}",
        "connection to postgresql://maria:s3cretword@db.maria.example/perenne failed",
        "no answer from https://hooks.maria.example/T0/B0 for maria.lopez@example.org and ana@lan",
        "could not read divorce-papers.pdf in /mnt/usb/Family/divorce-papers.pdf",
        f'  File "{Path(__file__).resolve().parents[3]}/actors/ingest/host.py", line 12, in _hold',
    ]
    settings.path("logs", "root.log").write_text("\n".join(lines) + "\n")
    said = f"the file {settings.home}/x of msg_01a2171b2276 said `the lighthouse was sold`"
    Crashes(settings.path("crashes")).keep("RunHost", 7, time.time(), 9, said, (f"got 'the lighthouse' from {KEY}",))

    files = unpacked(report(settings))

    whole = "\n".join([*files, *files.values()])
    for word in (
        KEY, "s3cretword", "0therword", "lighthouse", "divorce", "maria", "Maria", "Family", "10.1.2.3", "example", "ana@lan",
        "01a2171b", str(settings.home), str(settings.path().parent), str(Path.home()) + "/",
    ):  # fmt: skip
        assert word not in whole, next(line for line in whole.splitlines() if word in line)
    assert "actors/ingest/host.py" in files["logs/home/root.log"], "where it happened is what helps"
    assert "WARNING actors.ingest.host" in files["logs/home/root.log"]
    assert json.loads(files["crashes.json"])[0]["name"] == "RunHost"


def test_a_request_can_be_followed_through_the_archive_without_its_id(settings: Settings) -> None:
    def line(actor: str, message: str, **more: str) -> str:
        told = {"time": "2026-11-26T12:00:00.000Z", "level": "error", "actor": actor, "pid": 7, "logger": "actors.ingest.host"}
        return json.dumps({**told, "message": message, **more}) + "\n"

    logs = settings.path("logs")
    own = {"request_id": "divorce-1", "run_id": "run_01a2171b16"}
    failed = f'  File "{Path(__file__).resolve().parents[3]}/actors/x.py", line 1\nKeyError: the "lighthouse" in {settings.home}/a.pdf'
    (logs / "edge.jsonl").write_text(line("edge", "asked", **own) + line("edge", "another", request_id="divorce-2"))
    (logs / "RunHost.jsonl").write_text(line("RunHost", f"no {KEY} for maria@example.org", exception=failed, **own))
    (logs / "RunHost.jsonl.1").write_text(line("RunHost", "long ago"))
    files = unpacked(report(settings))
    whole = "\n".join([*files, *files.values()])
    for word in (KEY, "lighthouse", "divorce", "01a2171b", "maria", str(settings.home)):
        assert word not in whole, word
    edge = [json.loads(raw) for raw in files["logs/home/edge.jsonl"].splitlines()]
    (host,) = (json.loads(raw) for raw in files["logs/home/RunHost.jsonl"].splitlines())
    assert [one["request_id"] for one in edge] != [host["request_id"]] * 2
    assert host["request_id"] in {one["request_id"] for one in edge}
    assert (host["run_id"], host["level"], host["logger"]) == ("run-1", "error", "actors.ingest.host")
    assert host["exception"].splitlines()[0] == '  File "actors/x.py", line 1'
    assert [name for name in files if "RunHost" in name] == ["logs/home/RunHost.jsonl"], "full files stay at home"


def test_what_helps_is_in_it_of_an_instance_that_does_not_run(settings: Settings) -> None:
    files = unpacked(report(settings))
    assert json.loads(files["status.json"]) == {"running": False}
    versions = json.loads(files["versions.json"])
    assert versions["package ray"]
    assert versions["python"].startswith("3.")
    assert {finding["about"] for finding in json.loads(files["doctor.json"])} >= {"python", "port"}
    told = json.loads(files["settings.json"])
    assert told["profile"] == "tiny"
    assert told["edge"]["requests_per_minute"] == settings.edge.requests_per_minute


def test_settings_show_numbers_and_choices_and_of_the_rest_whether_they_are_set(settings: Settings) -> None:
    told = shown(settings)
    assert told["store"]["url"] == "set"
    assert told["redis_url"] == "set"
    assert told["home"] == "set"
    assert told["language"]["model"] == settings.language.model
    assert told["language"]["url"] is None
    own = settings.language.model_copy(update={"model": "/home/maria/models/own", "api_key": "sk"})
    changed = shown(settings.model_copy(update={"language": own}))
    assert (changed["language"]["model"], changed["language"]["api_key"]) == ("set", "set")


@pytest.mark.parametrize(
    "line",
    [
        "ready after 63.5 s",
        "StoreWriter could not recover (attempt 2)",
        "perenne.errors.Unavailable: StoreWriter is away; retry in 0.5 s",
        "INFO cluster.head: gcs is dead (process 412)",
        "the control plane does not answer at 127.0.0.1:29400",
    ],
)
def test_what_the_program_itself_says_stays_readable(line: str, settings: Settings) -> None:
    assert Veil(settings).line(line) == line
