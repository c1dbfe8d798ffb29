"""``perenne models``: what there is, what is here, and bringing it here."""

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from actors.models.catalogue import ModelEntry, catalogue, entry_of
from actors.models.pull_progress import read_progress
from actors.models.weights import Weights
from perenne.cli.console import emit
from perenne.errors import PerenneError
from perenne.settings import Settings, load_settings

app = typer.Typer(help="The models: what there is, what is here.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")]
_LOOK_S = 0.2
_notes = Console(stderr=True, highlight=False)


def _chosen(settings: Settings) -> tuple[str, ...]:
    """The models that this configuration answers with and that have weights to fetch."""
    models = (settings.language, settings.embedding, settings.reranking)
    return tuple(m.model for m in models if m is not None and m.engine != "openai" and m.model in catalogue())


def _entries(settings: Settings, ids: list[str]) -> list[ModelEntry]:
    return [entry_of(model_id) for model_id in ids or _chosen(settings)]


def _ids(incomplete: str) -> list[tuple[str, str]]:
    """For completion: the catalogue's ids that begin so."""
    return [
        (entry.id, f"{entry.role}, {entry.size / 1e6:,.0f} MB")
        for entry in catalogue().values()
        if entry.id.startswith(incomplete)
    ]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Every model of the catalogue, and whether its weights are here."""
    settings = load_settings()
    chosen = _chosen(settings)
    table = Table("model", "role", "size", "licence", "languages", "here", "used")
    for entry in catalogue().values():
        weights = Weights(entry, Path(settings.models_dir))
        progress = read_progress(weights.progress)
        here = "yes" if weights.is_installed else "no"
        if here == "no" and progress is not None and progress.phase == "downloading":
            here = f"{progress.share:.0%}"
        if as_json:
            facts = {"id": entry.id, "role": entry.role, "size_bytes": entry.size, "licence": entry.licence}
            emit(facts | {"languages": entry.languages, "installed": weights.is_installed, "used": entry.id in chosen})
        used = "yes" if entry.id in chosen else ""
        table.add_row(entry.id, entry.role, f"{entry.size / 1e6:,.0f} MB", entry.licence, " ".join(entry.languages), here, used)
    if not as_json:
        Console().print(table)


def _pull_quietly(model_id: str, models_dir: Path, folders: tuple[Path, ...]) -> None:
    from actors.models.pull import Places, pull  # not above: it loads an HTTP client, which a press of Tab does without

    try:
        pull(entry_of(model_id), models_dir, Places.of(os.environ, folders))
    except (PerenneError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error


@app.command("pull")
def pull_models(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Catalogue ids; the configured models without one.", autocompletion=_ids)
    ] = None,
    folders: Annotated[list[Path] | None, typer.Option("--from", help="A folder to look in first.")] = None,
    as_json: Json = False,
) -> None:
    """Bring weights here, going on where an earlier download stopped."""
    settings = load_settings()
    models_dir, failed = Path(settings.models_dir), False
    for entry in _entries(settings, ids or []):
        weights = Weights(entry, models_dir)
        child = multiprocessing.get_context("spawn").Process(
            target=_pull_quietly, args=(entry.id, models_dir, tuple(folders or ())), daemon=True
        )
        child.start()
        _show(child, weights)
        failed = failed or not weights.is_installed
        if as_json:
            progress = read_progress(weights.progress)
            error = progress.error if progress is not None and not weights.is_installed else ""
            emit({"id": entry.id, "installed": weights.is_installed, "path": str(weights.folder), "error": error})
    if failed:
        raise typer.Exit(1)


def _show(child: Any, weights: Weights) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=_notes, disable=not _notes.is_terminal) as bars:
        bar = bars.add_task(weights.entry.id, total=weights.entry.size)
        while child.is_alive():
            child.join(_LOOK_S)
            if (progress := read_progress(weights.progress)) is not None:
                bars.update(bar, completed=progress.bytes_done)
    state = "is here" if weights.is_installed else "is not here"
    _notes.print(f"{weights.entry.id} {state}: {weights.folder}", soft_wrap=True)


@app.command("check")
def check_models(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Catalogue ids; all that are here without one.", autocompletion=_ids)
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every byte of the weights and compare the hashes with the catalogue. Exit code 1 when one is wrong."""
    settings = load_settings()
    models_dir = Path(settings.models_dir)
    asked = [entry_of(model_id) for model_id in ids or []]
    wrong = False
    for entry in asked or [e for e in catalogue().values() if (models_dir / e.id).is_dir()]:
        faults = Weights(entry, models_dir).wrong()
        wrong = wrong or bool(faults)
        if as_json:
            emit({"id": entry.id, "ok": not faults, "faults": faults})
        else:
            words = "; ".join(f"{name}: {fault}" for name, fault in faults.items()) or "right"
            _notes.print(f"{entry.id}: {words}", soft_wrap=True)
    if wrong:
        raise typer.Exit(1)
