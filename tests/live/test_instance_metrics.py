"""What an instance really exports, after it was used, is what docs/operations.md lists: every name, no other name, no other label."""

import json
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import yaml

from cluster import metric_text
from cluster.instance import read_instance
from cluster.metrics_command import HISTOGRAMS
from perenne.metric_table import ALL
from tests.live.running import RunningInstance

EXPORTED_WITHIN_S = 100.0  # twice the 30 s between two looks of Ray's, and its first
# What stays away until something goes wrong, or a schedule has run.
_RARE = {"perenne_questions_failed_total", "perenne_backup_loss_seconds", "perenne_schedule_age_seconds", "perenne_schedule_ok"}


def port_of(instance: RunningInstance) -> int:
    known = read_instance(str(instance.home))
    assert known is not None
    return known.ports["metrics_export"]


def fetched(port: int) -> list[metric_text.Series]:
    time.sleep(1.0)  # Ray renders everything at each look
    try:
        return metric_text.ours(metric_text.fetch(port), HISTOGRAMS)
    except OSError:  # it comes up after the rest
        return []


def test_an_instance_exports_what_the_table_lists(instance: RunningInstance, client: httpx.Client) -> None:
    word = f"quillfeather{secrets.token_hex(6)}"
    files = {"file": (f"{word}.txt", f"The lighthouse {word} was built in 1821. " * 20)}
    document = client.post("/api/projects/default/documents", files=files).raise_for_status().json()["document"]["id"]
    assert instance.until(lambda: client.get(f"/api/documents/{document}").json()["state"] == "indexed", 180)
    client.post("/api/search", json={"query": f"lighthouse {word}"}).raise_for_status()
    for options in ({"grounded": True}, {"grounded": False, "max_tokens": 8}):
        sent = {"text": f"When was the lighthouse {word} built?", "options": options}
        posted = client.post(f"/api/conversations/cnv_{word}/messages", json=sent).raise_for_status().json()
        run = posted["run"]["id"]
        assert instance.until(lambda run=run: client.get(f"/api/runs/{run}").json()["state"] not in ("queued", "running"), 180)
    client.get(f"/api/documents/{word}")
    client.get(f"/api/{word}/nowhere")

    names = {metric.name for metric in ALL} - _RARE
    port, seen = port_of(instance), list[metric_text.Series]()

    def all_there() -> bool:
        seen[:] = fetched(port)
        stages = {series.labels["stage"] for series in seen if series.name == "perenne_run_stage_seconds"}
        whole = stages == {"route", "search", "first_word", "whole"} and routes() >= asked
        return whole and names <= {series.name for series in seen}

    def routes() -> set[str]:
        return {series.labels["route"] for series in seen if series.name == "perenne_http_requests_total"}

    asked = {"/api/projects/{project}/documents", "/api/documents/{document_id}", "/api/search", "/api/{rest:path}"}
    assert instance.until(all_there, EXPORTED_WITHIN_S), (names - {series.name for series in seen}, asked - routes())
    table = {metric.name: metric for metric in ALL}
    for series in seen:
        assert set(series.labels) == {"actor", *table[series.name].labels}, series
        assert (series.count is not None) == (table[series.name].kind == "histogram"), series
    text = metric_text.fetch(port)
    for secret in (word, document, instance.key):
        assert secret not in text
    done = instance.command("metrics", "--json")
    assert done.returncode == 0, done.stderr
    assert names <= {json.loads(line)["name"] for line in done.stdout.splitlines()}


def test_a_prometheus_finds_the_instance_by_the_file_that_the_printed_configuration_names(
    instance: RunningInstance, tmp_path: Path
) -> None:
    done = instance.command("metrics", "--prometheus")
    assert done.returncode == 0
    (job,) = yaml.safe_load(done.stdout)["scrape_configs"]
    (found,) = job["file_sd_configs"]
    targets: list[str] = []

    def there() -> bool:
        (path,) = found["files"]
        targets[:] = json.loads(Path(path).read_text())[0]["targets"] if Path(path).exists() else []
        return bool(targets)

    assert instance.until(there, EXPORTED_WITHIN_S)
    assert f"127.0.0.1:{port_of(instance)}" in targets
    assert all(target.startswith("127.0.0.1:") for target in targets)
    if promtool := shutil.which("promtool"):
        (tmp_path / "prometheus.yml").write_text(done.stdout)
        subprocess.run([promtool, "check", "config", str(tmp_path / "prometheus.yml")], check=True)


def test_top_shows_each_part_of_a_running_instance(instance: RunningInstance) -> None:
    done = instance.command("top", "--json", "--count", "2", "--every", "0.5")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["at"] < second["at"]
    rows = {row["name"]: row for row in second["rows"]}
    assert {"StoreWriter", "RunHost", "edge", "language"} <= set(rows)
    assert rows["StoreWriter"]["pss_bytes"] > 10 << 20
    assert 0 <= rows["StoreWriter"]["cpu_percent"] < 400
    assert rows["edge"]["pss_bytes"] > 10 << 20, "Serve holds its processes"
    assert rows["StoreWriter"]["queue"] >= 0
    assert (second["runs"], second["jobs"]) == (0, 0)
    assert second["disk_free_bytes"] > 0
    words = instance.command("top", "--count", "1")
    assert words.returncode == 0, words.stderr
    assert "StoreWriter" in words.stdout
