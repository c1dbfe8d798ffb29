"""`perenne metrics`: the instance's numbers as they stand, and how a Prometheus comes to them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster import metric_text
from cluster.environment import CHECKOUT
from cluster.instance import HomeLock, read_instance
from perenne import metric_table
from perenne.cli.console import Away
from perenne.cli.troubles import tell
from perenne.errors import PerenneError, Unavailable
from perenne.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, and nothing else on standard output.")]
HISTOGRAMS = frozenset(metric.name for metric in metric_table.ALL if metric.kind == "histogram")
_PLACE = "HOME_OF_RAY"  # in configs/prometheus.yml


def metrics(
    as_json: Json = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the configuration of a Prometheus that collects them instead.")
    ] = False,
) -> None:
    """What this instance counts and measures; docs/operations.md says what each is. The newest are up to a minute old."""
    try:
        settings = load_settings()
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    if prometheus:
        typer.echo(configuration(settings.ray_dir), nl=False)
        return
    known = read_instance(settings.home)
    if HomeLock(settings.home).holder() is None or known is None:
        raise typer.Exit(tell(Away(f"http://{settings.host}:{settings.port}")))
    try:
        found = metric_text.ours(metric_text.fetch(known.ports["metrics_export"]), HISTOGRAMS)
    except OSError as error:
        away = Unavailable("Ray's metrics port", 5.0, f"{error}; it comes up about half a minute after the rest")
        raise typer.Exit(tell(away)) from None
    for series in found:
        typer.echo(json.dumps(series.facts()) if as_json else in_words(series))
    if not found and not as_json:
        typer.echo("nothing was told yet: the first numbers come within a minute of the start")


def configuration(ray_dir: str) -> str:
    """configs/prometheus.yml with the path at which this instance says where it listens."""
    return Path(CHECKOUT, "configs", "prometheus.yml").read_text(encoding="utf-8").replace(_PLACE, f"{ray_dir}/r")


def in_words(series: metric_text.Series) -> str:
    """One line: name, labels, and the number, or how many there were and what they took on average."""
    labels = " ".join(f"{key}={value}" for key, value in series.labels.items())
    if series.count is None:
        said = f"{series.value:g}"
    else:
        said = f"{series.count:g} times, {(series.sum or 0.0) / series.count:.4g} on average" if series.count else "0 times"
    return f"{series.name}  {labels}  {said}"
