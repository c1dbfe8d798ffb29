"""Durable commands beside raw SQLite (WAL, synchronous=FULL) writing the same rows: `python -m benchmarks.commands`.

The raw side is a loop over one connection with everything prepared: the same tables and indexes, the same rows (those of the command
id and of the feed too), one transaction a command. Ours is measured alone (one caller, each waiting for its answer) and with as many
callers as the name says, whose commands share transactions; through the core in this process and through the actor.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.store.database import connect_sqlite
from actors.store.writer import WriterCore
from benchmarks.report import Figure, publish
from perenne import names
from perenne.client import RayDirectory
from perenne.messages.commands import (
    AppendRunEvents,
    Command,
    CreateConversation,
    CreateProject,
    CreateUser,
    PostMessage,
    StartAttempt,
)
from perenne.messages.event_batch import EventBatch, NewEvent
from perenne.settings import load_settings
from perenne.store import Store

ROWS = 50
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL")
WORDS = "una respuesta de varias palabras "


def fresh() -> str:
    return uuid.uuid4().hex


def one_row(_: int) -> Command:
    return CreateConversation(command_id="cmd_" + fresh(), user_id="owner", conversation_id="cnv_" + fresh(), title="A title")


def fifty_rows(run: int) -> Command:
    events = EventBatch.of(NewEvent(kind="delta", data={"text": WORDS}) for _ in range(ROWS))
    return AppendRunEvents(command_id="cmd_" + fresh(), user_id="system", run_id=f"run_{run}", host="host", events=events)


def foundations(runs: int) -> list[Command]:
    """A user and runs to append to."""
    made: list[Command] = [
        CreateUser(command_id=fresh(), user_id="system", new_user_id="owner", name="Owner"),
        CreateProject(command_id=fresh(), user_id="owner", project_id="prj", name="default"),
    ]
    for n in range(runs):
        made.append(
            PostMessage(
                command_id=fresh(),
                user_id="owner",
                conversation_id=f"cnv_{n}",
                message_id=f"q_{n}",
                reply_id=f"a_{n}",
                run_id=f"run_{n}",
                text="why?",
            )
        )
        made.append(StartAttempt(command_id=fresh(), user_id="system", run_id=f"run_{n}", host="host"))
    return made


def prepared_core(home: Path, runs: int = 64) -> WriterCore:
    core = WriterCore(f"sqlite:///{home / 'store' / 'perenne.db'}")
    core.open()
    for outcome in core.submit(foundations(runs)).result(30):
        assert outcome.error is None, outcome.error
    return core


def rate(step: Callable[[int], Any], seconds: float) -> float:
    """Calls of `step` a second."""
    for n in range(50):
        step(n)
    began = time.perf_counter()
    count = 0
    while (took := time.perf_counter() - began) < seconds:
        step(count)
        count += 1
    return count / took


# The raw side


class Raw:
    """The same database without us."""

    def __init__(self, home: Path) -> None:
        prepared_core(home).close()
        self.connection = connect_sqlite(home / "store" / "perenne.db", create=False, pragmas=PRAGMAS)
        self.seq = self.connection.execute("SELECT max(seq) FROM changes").fetchone()[0]
        self.events = dict.fromkeys(range(64), 0)
        self.result = json.dumps(["Conversation", {"id": "c" * 36, "user_id": "owner", "project_id": None, "title": "A title"}])
        self.run = json.dumps(
            ["Run", {"id": "r" * 36, "options": {"k": 0}, "events": 50, "created_at": 1e9, "more": "x" * 300}]
        )

    def _command(self, result: str) -> None:
        self.connection.execute(
            "INSERT INTO commands (id, body, result, seq, created_at) VALUES (?, ?, ?, ?, ?)",
            ("cmd_" + fresh(), b"0123456789abcdef", result, self.seq, time.time()),
        )

    def one_row(self, _: int) -> None:
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        conversation = "cnv_" + fresh()
        execute(
            "INSERT INTO conversations (id, user_id, project_id, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
            (conversation, "owner", None, "A title", time.time(), time.time()),
        )
        self.seq += 1
        execute(
            "INSERT INTO changes (seq, origin, origin_seq, hlc, entity, id, op) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.seq, "raw", self.seq, self.seq << 16, "conversation", conversation, "insert"),
        )
        self._command(self.result)
        execute("COMMIT")

    def fifty_rows(self, n: int) -> None:
        execute = self.connection.execute
        run, first = f"run_{n % 64}", self.events[n % 64] + 1
        execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO run_events (run_id, seq, kind, data, created_at) VALUES (?, ?, ?, ?, ?)",
            [(run, seq, "delta", json.dumps({"text": WORDS}), time.time()) for seq in range(first, first + ROWS)],
        )
        self.events[n % 64] += ROWS
        execute("UPDATE runs SET events = ?, updated_at = ? WHERE id = ?", (self.events[n % 64], time.time(), run))
        self._command(self.run)
        execute("COMMIT")


# Our side


def core_alone(core: WriterCore, make: Callable[[int], Command], seconds: float) -> float:
    def step(n: int) -> None:
        (outcome,) = core.submit((make(n % 64),)).result(10)
        assert outcome.error is None, outcome.error

    return rate(step, seconds)


def core_together(core: WriterCore, make: Callable[[int], Command], callers: int, seconds: float) -> float:
    """`callers` tasks on one event loop, as in the actor."""

    async def caller(number: int, until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            (outcome,) = await asyncio.wrap_future(core.submit((make(number),)))
            assert outcome.error is None, outcome.error
            count += 1
        return count

    async def everybody() -> float:
        began = time.perf_counter()
        counts = await asyncio.gather(*(caller(n, began + seconds) for n in range(callers)))
        return sum(counts) / (time.perf_counter() - began)

    return asyncio.run(everybody())


class ActorSide:
    """A StoreWriter in a Ray of its own, written to as everybody does."""

    def __init__(self, home: Path) -> None:
        import ray

        from actors.store.actor import StoreWriter

        self._ray: Any = ray
        self._temp = tempfile.mkdtemp(prefix="rst", dir="/tmp")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        self._ray.init(
            address="local",
            namespace=names.NAMESPACE,
            _temp_dir=self._temp,
            include_dashboard=False,
            log_to_driver=False,
            num_cpus=2,
        )
        settings = load_settings({"PERENNE_HOME": str(home)})
        self._lines = Path(settings.ray_dir)  # where the owner's line lies, as in an instance
        self._lines.mkdir(parents=True)
        made = self._ray.remote(concurrency_groups=StoreWriter.CONCURRENCY)(StoreWriter)
        options = {"name": names.STORE_WRITER, "num_cpus": 0, "max_restarts": -1, "max_task_retries": 0}
        self._handle = made.options(**options).remote(names.STORE_WRITER, settings, RayDirectory())
        self._store = Store(RayDirectory(settings.ray_dir))
        asyncio.run(self._begin())

    async def _begin(self) -> None:
        await self._store.submit(*foundations(64), deadline_s=60.0)

    async def _send(self, *commands: Command) -> None:
        for outcome in await self._store.submit(*commands):
            assert outcome.error is None, outcome.error

    def rate(self, make: Callable[[int], Command], callers: int, at_once: int, seconds: float) -> float:
        """Commands a second, `at_once` of them in a call."""

        async def caller(number: int, until: float) -> int:
            count = 0
            while time.perf_counter() < until:
                await self._send(*(make((number + n) % 64) for n in range(at_once)))
                count += at_once
            return count

        async def everybody() -> float:
            await caller(0, time.perf_counter() + 0.2)
            began = time.perf_counter()
            counts = await asyncio.gather(*(caller(n, began + seconds) for n in range(callers)))
            return sum(counts) / (time.perf_counter() - began)

        return asyncio.run(everybody())

    def close(self) -> None:
        self._ray.kill(self._handle)
        self._ray.shutdown()
        shutil.rmtree(self._temp, ignore_errors=True)
        shutil.rmtree(self._lines, ignore_errors=True)


def figures(folder: Path, seconds: float, with_actor: bool, rounds: int) -> list[Figure]:
    kinds: list[tuple[str, Callable[[int], Command], float]] = [
        ("single command", one_row, 0.40),
        (f"{ROWS} rows a command", fifty_rows, 0.60),
    ]
    raw, core = Raw(folder / "raw"), prepared_core(folder / "core")
    actor = ActorSide(folder / "actor") if with_actor else None
    raws: dict[Any, list[float]] = {make: [] for _, make, _ in kinds}
    measured: dict[tuple[str, Any], list[float]] = {}
    for _ in range(rounds):  # in turn, so that a noisy moment of the machine hits all sides
        for _, make, _ in kinds:
            raws[make].append(rate(raw.one_row if make is one_row else raw.fifty_rows, seconds))
            measured.setdefault(("through the core, 1 caller", make), []).append(core_alone(core, make, seconds))
            measured.setdefault(("through the core, 64 callers", make), []).append(core_together(core, make, 64, seconds))
            for callers, at_once in ((1, 1), (64, 1), (8, 32)) if actor is not None else ():
                got = actor.rate(make, callers, at_once, seconds) if actor is not None else 0.0
                name = f"through the actor, {callers} caller{'s' * (callers > 1)}, {at_once} a call"
                measured.setdefault((name, make), []).append(got)
    core.close()
    if actor is not None:
        actor.close()
    rows: list[Figure] = []
    for kind, make, goal in kinds:
        theirs = statistics.median(raws[make])
        for (name, its), got in measured.items():
            if its is make:
                figure = f"{kind}, {name}"
                note = "raw: one connection, one transaction a command"
                rows.append(
                    Figure(figure, statistics.median(got), theirs, unit="commands/s", goal=f"ratio >= {goal}", note=note)
                )
    return rows


def main(argv: list[str] | None = None) -> bool:
    """True when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-actor", action="store_true")
    arguments = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="perenne-bench-", dir=Path.cwd()))  # on the disk that counts, not a folder in memory
    try:
        rows = figures(folder, arguments.seconds, not arguments.no_actor, arguments.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return publish("commands", rows, seconds=arguments.seconds, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
