"""Ray's metrics port, read: the numbers that are ours, without what Ray adds to each."""

import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

PREFIX = "ray_perenne_"
READ_WITHIN_S = 10.0
READ_BYTES_MAX = 64 << 20
# What Ray says with every number, of which process or machine it is.
_OF_RAY = re.compile(r"Component|NodeAddress|SessionName|Version|WorkerId|JobId|node_id|node_ip_address|otel_.*|le")
_LINE = re.compile(r'(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (?P<value>\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ENDS = ("_bucket", "_sum", "_count")


@dataclass(slots=True)
class Series:
    """One metric with one set of labels; `count` and `sum` of a histogram, `value` of the others."""

    name: str
    labels: dict[str, str]
    value: float | None = None
    count: float | None = None
    sum: float | None = None
    buckets: dict[str, float] = field(default_factory=dict[str, float])

    def facts(self) -> dict[str, object]:
        """As one JSON object."""
        told = {"value": self.value, "count": self.count, "sum": self.sum, "buckets": self.buckets or None}
        return {"name": self.name, "labels": self.labels, **{key: value for key, value in told.items() if value is not None}}


def fetch(port: int) -> str:
    """The text at Ray's metrics port on this PC. OSError when nobody answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=READ_WITHIN_S) as answer:
        return answer.read(READ_BYTES_MAX).decode("utf-8", "replace")


def ours(text: str, histograms: frozenset[str]) -> list[Series]:
    """The series of Perenne, by name and labels; those of several processes with the same labels are added up."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}
    for name, labels, value in _lines(text):
        end = next((end for end in _ENDS if name.endswith(end) and name.removesuffix(end) in histograms), "")
        base = name.removesuffix(end)
        kept = {key: given for key, given in labels.items() if not _OF_RAY.fullmatch(key)}
        series = found.setdefault((base, tuple(sorted(kept.items()))), Series(base, kept))
        if end == "_bucket":
            bound = labels.get("le", "")
            series.buckets[bound] = series.buckets.get(bound, 0.0) + value
        elif end == "_count":
            series.count = (series.count or 0.0) + value
        elif end == "_sum":
            series.sum = (series.sum or 0.0) + value
        else:
            series.value = (series.value or 0.0) + value
    return [found[key] for key in sorted(found)]


def _lines(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if line.startswith(PREFIX) and (match := _LINE.fullmatch(line)):
            yield match["name"].removeprefix("ray_"), dict(_LABEL.findall(match["labels"] or "")), float(match["value"])
