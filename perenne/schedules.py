"""What is done by the clock, each as one small file in HOME/schedules: when next, whether it is under way, how it ended last. Files and
not rows, so that they can be read with no instance running and written when the database can't be. Their owner alone writes them."""

import os
import time
from pathlib import Path

from perenne.errors import ConfigurationError
from perenne.messages.backups import Schedule

FOLDER = "schedules"
BEFORE = "before-migration"  # how the backup before the last migration ended; it is due at no time of the clock


def next_time(cron: str, after: float) -> float | None:
    """The first moment after `after` that the expression names, in the PC's own time; None for an empty one."""
    if not cron:
        return None
    from datetime import datetime

    from croniter import croniter

    return float(croniter(cron, datetime.fromtimestamp(after).astimezone()).get_next(float))


def check_cron(cron: str) -> str:
    """The expression. ConfigurationError when it names no moment."""
    if cron:
        from croniter import croniter

        if len(cron.split()) != 5 or not croniter.is_valid(cron):
            raise ConfigurationError(
                f"expected five fields of cron such as '0 * * * *' (each hour) or '30 3 * * 0' (Sundays at 3:30), got {cron!r}"
            )
    return cron


def read_schedules(home: str | Path) -> tuple[Schedule, ...]:
    """All that were ever written, by name. One that can't be read is left out: its owner writes it anew."""
    folder = Path(home, FOLDER)
    names = sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []
    found = (read_schedule(home, name) for name in names)
    return tuple(schedule for schedule in found if schedule is not None)


def read_schedule(home: str | Path, name: str) -> Schedule | None:
    """None where there is none that can be read."""
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(Schedule).validate_json(Path(home, FOLDER, f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None


def write_schedule(home: str | Path, schedule: Schedule) -> None:
    """Whole or not at all, and on disk once this returns. OSError."""
    import orjson

    folder = Path(home, FOLDER)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{schedule.name}.json"
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(schedule, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def age_words(at: float, now: float | None = None) -> str:
    """How long ago, for people."""
    seconds = max(0.0, (time.time() if now is None else now) - at)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def one_line(schedule: Schedule, now: float) -> str:
    """How it stands with a schedule, for people."""
    if schedule.running_since is not None:
        return f"{schedule.name}: under way ({schedule.progress or 'it begins'})"
    if schedule.last is None:
        return f"{schedule.name}: never yet"
    last = schedule.last
    if last.ok:
        return f"{schedule.name}: {age_words(last.ended_at, now)}, well"
    before = f"; the last good one was {age_words(schedule.good.ended_at, now)}" if schedule.good else "; there is no good one"
    return f"{schedule.name}: {age_words(last.ended_at, now)}, FAILED: {last.detail}{before}"
