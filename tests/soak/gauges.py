"""What an instance takes, over time: memory, open files, threads, processes, disk, logs; and how fast each grows."""

import contextlib
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from perenne.relief import pss_bytes
from tests.live.running import RunningInstance

NAMES = ("pss_mb", "open_files", "threads", "processes", "home_mb", "logs_mb")
_MB = 1 << 20


@dataclass
class Gauges:
    """`look` takes one sample. Samples amid a fault are kept, and left out of the slopes."""

    instance: RunningInstance
    samples: list[dict[str, float]] = field(default_factory=list)
    by_process: list[dict[str, float]] = field(default_factory=list)

    def look(self, striking: Callable[[], bool]) -> None:
        struck = striking()
        sums, by_name = defaultdict[str, float](float), defaultdict[str, float](float)
        for pid in self.instance.processes():
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                name, share = _title(process), pss_bytes(pid) / _MB
                sums["pss_mb"] += share
                by_name[name] += share
                sums["open_files"] += process.num_fds()
                sums["threads"] += process.num_threads()
                sums["processes"] += 1
        sums["home_mb"] = _size(self.instance.home) / _MB
        sums["logs_mb"] = (_size(Path(self.instance.settings.ray_dir)) + _size(self.instance.home / "logs")) / _MB
        self.samples.append(
            {"at": time.time(), "struck": float(struck or striking()), **{name: round(sums[name], 1) for name in NAMES}}
        )
        self.by_process.append({name: round(share, 1) for name, share in by_name.items()})

    def slopes(self) -> dict[str, dict[str, float]]:
        """Of each: the first and the last quiet sample, the most, and what it grows by in an hour, by least squares over the second half
        of the quiet samples: the first half warms up."""
        quiet = [each for each in self.samples if not each["struck"]]
        return {
            name: _grown([(each["at"], each[name]) for each in quiet], [each[name] for each in self.samples]) for name in NAMES
        }

    def growers(self, many: int = 6) -> list[dict[str, Any]]:
        """The processes whose memory grew most, from the median of the first quarter of quiet samples to that of the last."""
        quiet = [held for held, each in zip(self.by_process, self.samples, strict=True) if not each["struck"]]
        if len(quiet) < 8:
            return []
        quarter = len(quiet) // 4
        found: list[dict[str, Any]] = []
        for name in set(quiet[0]) & set(quiet[-1]):
            first = statistics.median(each[name] for each in quiet[:quarter] if name in each)
            held = [each[name] for each in quiet[-quarter:] if name in each]
            found.append({"process": name, "first_mb": round(first, 1), "last_mb": round(statistics.median(held), 1)})
        return sorted(found, key=lambda each: each["first_mb"] - each["last_mb"])[:many]


def slope_per_hour(points: list[tuple[float, float]]) -> float | None:
    """By least squares; None of fewer than three points."""
    if len(points) < 3:
        return None
    return round(statistics.linear_regression([at / 3600 for at, _ in points], [value for _, value in points]).slope, 2)


def _grown(points: list[tuple[float, float]], every: list[float]) -> dict[str, Any]:
    later = points[len(points) // 2 :]
    return {
        "first": points[0][1] if points else None,
        "last": points[-1][1] if points else None,
        "max": max(every, default=None),
        "per_hour": slope_per_hour(later),
        "over_s": round(later[-1][0] - later[0][0]) if later else 0,
        "samples": len(later),
    }


def _title(process: psutil.Process) -> str:
    words = process.cmdline()[:1] or [process.name()]
    return (
        os.path.basename(words[0].split(" ")[0]) if not words[0].startswith("ray::") else words[0].split("(")[0].split(".")[0]
    )


def _size(folder: Path) -> int:
    total = 0
    for held, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(held, name)).st_blocks * 512
    return total
