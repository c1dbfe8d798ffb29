"""The table of metrics, its page in docs/, and the dashboard: one set of names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perenne.metric_table import ALL

ROOT = Path(__file__).resolve().parents[3]
BY_NAME = {metric.name: metric for metric in ALL}
DASHBOARD: dict[str, Any] = json.loads((ROOT / "configs" / "grafana" / "perenne.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_names_are_one_each_and_say_their_unit() -> None:
    assert len(BY_NAME) == len(ALL) > 30
    for metric in ALL:
        assert re.fullmatch(r"perenne_[a-z][a-z_]*[a-z]", metric.name), metric.name
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert (metric.kind == "histogram") == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(metric.buckets), metric.name
        assert not re.search(r"_(ms|minutes|kb|mb|percent)(_|$)", metric.name), f"{metric.name}: base units only"
        assert metric.help
        assert not {"actor", "le"} & set(metric.labels), metric.name
    assert not [
        label for metric in ALL for label in metric.labels if label.endswith("id") or label in ("user", "project", "path")
    ]


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    shown = re.findall(r"^\| `(perenne_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", page, re.M)
    assert shown == [(metric.name, metric.kind, ", ".join(metric.labels) or "–", metric.help) for metric in ALL]


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_the_dashboard_names_a_metric_and_labels_that_there_are(query: str) -> None:
    named = re.findall(r"\b(perenne_\w+)(?:\{([^}]*)\})?", query)
    assert named, query
    for name, selected in named:
        base = name
        if name not in BY_NAME:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert BY_NAME[base].kind == "histogram", name
        else:
            assert BY_NAME[name].kind != "histogram", f"{name} is exported as its buckets, sum and count"
        known = {*BY_NAME[base].labels, "actor", "instance", "job"}
        assert set(re.findall(r"(\w+)\s*[=!]~?", selected)) <= known, query
    for by in re.findall(r"\bby \(([^)]*)\)", query):
        of_all = {
            label
            for name, _ in named
            for label in BY_NAME.get(name, BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", name))).labels
        }  # type: ignore[union-attr]
        assert {label.strip() for label in by.split(",")} <= of_all | {"actor", "le"}, query
    for name in re.findall(r"(?:rate|increase)\((perenne_\w+)", query):
        assert name.endswith(("_total", "_bucket", "_sum", "_count")), f"{query}: only counters have a rate"


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(QUERIES)
    assert [metric.name for metric in ALL if metric.name not in shown] == []


def test_the_dashboard_is_laid_out_as_grafana_takes_it() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"] == "Perenne"
    (source,) = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"]
