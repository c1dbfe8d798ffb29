"""What every benchmark prints and leaves behind: a table, and build/bench/NAME.json."""

import json
import operator
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

OUT = Path(__file__).resolve().parent.parent / "build" / "bench"
_COMPARISONS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One published figure. `goal` such as ``"ratio >= 0.4"`` or ``"ours <= 0.5"``; empty where there is none."""

    figure: str
    ours: float
    theirs: float | None = None
    unit: str = ""
    goal: str = ""
    note: str = ""
    ratio: float | None = field(default=None)

    def with_ratio(self) -> "Figure":
        if self.ratio is not None or not self.theirs:
            return self
        return Figure(**{**asdict(self), "ratio": self.ours / self.theirs})

    @property
    def met(self) -> bool | None:
        """Whether the goal holds; None where there is no goal. ValueError when the goal can't be read."""
        if not self.goal:
            return None
        try:
            subject, comparison, bound = self.goal.split()
            value = {"ours": self.ours, "ratio": self.with_ratio().ratio}[subject]
            return value is not None and bool(_COMPARISONS[comparison](value, float(bound)))
        except KeyError as error:
            raise ValueError(f"expected a goal such as 'ratio >= 0.4', got {self.goal!r}") from error


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def publish(name: str, figures: Sequence[Figure], **details: Any) -> bool:
    """Print the table and write build/bench/NAME.json, `details` beside the figures in `rows`. True when every goal is met."""
    figures = [figure.with_ratio() for figure in figures]
    table = Table(title=name)
    for column in ("figure", "ours", "theirs", "ratio", "unit", "goal", "met", "note"):
        table.add_column(column, justify="right" if column in ("ours", "theirs", "ratio") else "left")
    for one in figures:
        met = {None: "", True: "yes", False: "NO"}[one.met]
        table.add_row(one.figure, _shown(one.ours), _shown(one.theirs), _shown(one.ratio), one.unit, one.goal, met, one.note)
    Console(width=160).print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    rows = [{**asdict(one), "met": one.met} for one in figures]
    (OUT / f"{name}.json").write_text(json.dumps(dict(details, name=name, rows=rows, **machine), indent=1, default=str) + "\n")
    return all(one.met is not False for one in figures)
