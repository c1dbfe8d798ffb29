"""What the disasters showed: one row a fault in build/chaos.json."""

import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "build" / "chaos.json"


@dataclass
class Row:
    promise: str
    rounds: int = 0
    recovery_s: list[float] = field(default_factory=list)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0


class Recorder:
    """Collects rounds and writes them down at the end."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def round(
        self, fault: str, promise: str, recovery_s: float | None, *, acknowledged: int = 0, lost: int = 0, doubled: int = 0
    ) -> None:
        """`recovery_s`: None where nothing was away that could have come back."""
        row = self._rows.setdefault(fault, Row(promise))
        row.rounds += 1
        if recovery_s is not None:
            row.recovery_s.append(recovery_s)
        row.acknowledged += acknowledged
        row.lost += lost
        row.doubled += doubled

    def write(self, failed: int) -> None:
        """Write the rows down, and how many tests of this run failed: a file with any is no proof."""
        if not self._rows:
            return
        rows = [
            {
                "fault": fault,
                "promise": row.promise,
                "rounds": row.rounds,
                "acknowledged": row.acknowledged,
                "lost": row.lost,
                "doubled": row.doubled,
                "recovery_p50_s": round(statistics.median(row.recovery_s), 2) if row.recovery_s else None,
                "recovery_max_s": round(max(row.recovery_s), 2) if row.recovery_s else None,
            }
            for fault, row in self._rows.items()
        ]
        OUT.parent.mkdir(parents=True, exist_ok=True)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        OUT.write_text(json.dumps({"at": at, "failed": failed, "rows": rows}, indent=1) + "\n")
