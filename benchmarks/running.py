"""What the house costs: second start to ready and to the first answer, memory and processor while idle, peak memory at work.

Starts an instance of its own with `perenne up` in a scratch home, so that nothing else is measured. Run as
`python -m benchmarks.running`; PERENNE_PROFILE and PERENNE_MODELS choose the models.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

import perenne
from benchmarks.report import Figure, publish
from cluster.processes import of_instance
from perenne.settings import load_settings

IDLE_S = 60.0  # over how long idle processor time is measured
SETTLE_S = 20.0  # rest before it
SAMPLE_S = 0.3  # between two looks at memory while it works
LOOKS = 5  # at the same processes, before new ones are looked for
WORK_DOCUMENTS, WORK_PARAGRAPHS = 4, 400  # taken in while answers are written: 4 files of 50,000 characters
WORK_QUESTIONS = 4  # answered one after another by each of two who ask
_START_S = 600.0  # a first start may fetch weights
_TEXT = "The lighthouse of Ushant was built in 1863 and its light is seen from 32 nautical miles away. Its keeper was Marie Kerbrat."
_QUESTION = "When was the lighthouse of Ushant built?"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes(home: Path) -> list[psutil.Process]:
    """The whole instance of this home."""
    found: list[psutil.Process] = []
    for pid in of_instance(load_settings({**os.environ, "PERENNE_HOME": str(home)}).ray_dir):
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def kind(process: psutil.Process) -> str:
    """What a process is, in a word or two: Ray titles its workers with the actor they host."""
    line = process.cmdline()
    first = Path(line[0].split()[0]).name if line and line[0] else process.name()
    if first.startswith("ray::"):
        return line[0].split("::", 1)[1].split(".")[0][:40]
    modules = [Path(part).name for part in line[1:4] if part.endswith(".py") or not part.startswith("-")]
    return f"{first} {modules[0] if modules else ''}".strip()[:40]


def pss_bytes(process: psutil.Process) -> int:
    """Proportional set size: shared pages are counted once over all processes."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


@contextmanager
def sampled(home: Path) -> Iterator[list[float]]:
    """Memory of the whole instance, looked at again and again until the end of the block."""
    sizes: list[float] = []
    over = threading.Event()

    def look() -> None:
        held = processes(home)  # to look for them takes longer than to measure them
        while not over.wait(SAMPLE_S):
            sizes.append(float(sum(pss_bytes(process) for process in held)))
            if len(sizes) % LOOKS == 0:
                held = processes(home)

    looking = threading.Thread(target=look, name="memory")
    looking.start()
    try:
        yield sizes
    finally:
        over.set()
        looking.join()


def cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return times.user + times.system
    except psutil.NoSuchProcess:
        return 0.0


@contextmanager
def instance(home: Path, port: int, **environment: str) -> Iterator[float]:
    """`perenne up` until it answers ready; yields the seconds that took. Ends it with Ctrl-C's signal."""
    env = {**os.environ, "PERENNE_HOME": str(home), "PERENNE_PORT": str(port), **environment}
    log = (home.parent / f"{home.name}.log").open("ab")
    begun = time.monotonic()
    root = subprocess.Popen([Path(sys.executable).with_name("perenne"), "up"], env=env, stdout=log, stderr=log)
    try:
        wait_ready(port, root)
        yield time.monotonic() - begun
    finally:
        root.send_signal(signal.SIGINT)
        try:
            root.wait(60)
        except subprocess.TimeoutExpired:
            root.kill()
        log.close()


def wait_ready(port: int, root: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if root.poll() is not None:
            raise SystemExit(f"perenne up ended with code {root.returncode}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"not ready after {_START_S:g} s")


async def first_answer(port: int, home: Path) -> None:
    async with perenne.connect(f"http://127.0.0.1:{port}", home=str(home)) as client:
        await client.ask(_QUESTION, "default")


async def add_text(port: int, home: Path, path: Path) -> None:
    async with perenne.connect(f"http://127.0.0.1:{port}", home=str(home)) as client:
        added = await client.add(path, "default")
        if added.job is not None:
            await client.wait_job(added.job.id)


async def work(port: int, home: Path, scratch: Path) -> None:
    """Answers are written while documents are taken in: what costs most memory at once."""
    paths: list[Path] = []
    for number in range(WORK_DOCUMENTS):
        path = scratch / f"work-{number}.txt"
        path.write_text("\n\n".join(f"{number}.{part}. {_TEXT}" for part in range(WORK_PARAGRAPHS)))
        paths.append(path)
    async with perenne.connect(f"http://127.0.0.1:{port}", home=str(home)) as client:

        async def ask() -> None:
            for _ in range(WORK_QUESTIONS):
                await client.ask(_QUESTION, "default")

        await asyncio.gather(ask(), ask(), *(add_text(port, home, path) for path in paths))


def idle(home: Path) -> tuple[float, float, list[tuple[str, float, float]]]:
    """Idle share of one core, PSS in bytes, and both by process."""
    before = {process: cpu_s(process) for process in processes(home)}
    begun = time.monotonic()
    time.sleep(IDLE_S)
    took = time.monotonic() - begun
    rows = [
        (kind(process), (cpu_s(process) - spent) / took, float(pss_bytes(process)))
        for process, spent in before.items()
        if process.is_running()
    ]
    rows.sort(key=lambda row: -row[1])
    return sum(row[1] for row in rows), sum(row[2] for row in rows), rows


def weights_bytes(home: Path) -> float:
    """Memory of the processes that hold weights: the model replicas."""
    return float(
        sum(pss_bytes(p) for p in processes(home) if any(word in kind(p).lower() for word in ("language", "embedding")))
    )


def show(rows: list[tuple[str, float, float]]) -> None:
    table = Table(title=f"idle over {IDLE_S:g} s, by process")
    for column in ("process", "% of a core", "PSS MB"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, share, pss in rows:
        table.add_row(name, f"{share:.2%}", f"{pss / 1e6:,.0f}")
    Console(width=120).print(table)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ph-") as scratch:
        home, port = Path(scratch, "home"), free_port()
        text = Path(scratch, "ushant.txt")
        text.write_text(_TEXT)
        with instance(home, port) as first_s:
            asyncio.run(add_text(port, home, text))
        begun = time.monotonic()
        with instance(home, port) as ready_s:
            asyncio.run(first_answer(port, home))
            answer_s = time.monotonic() - begun
            with sampled(home) as sizes:
                asyncio.run(work(port, home, Path(scratch)))
            time.sleep(SETTLE_S)
            share, pss, rows = idle(home)
            weights = weights_bytes(home)
        left = len(processes(home))
        shutil.rmtree(load_settings({**os.environ, "PERENNE_HOME": str(home)}).ray_dir, ignore_errors=True)
    show(rows)
    figures = [
        Figure("first start to ready", first_s, unit="s"),
        Figure("second start to ready", ready_s, unit="s", goal="ours <= 15"),
        Figure("second start to the end of the first answer", answer_s, unit="s"),
        Figure("idle processor, of one core", share * 100, unit="%", goal="ours <= 25"),
        Figure("idle memory without the model replicas", (pss - weights) / 1e9, unit="GB PSS", goal="ours <= 2"),
        Figure(
            "peak memory while answers are written and documents taken in",
            max(sizes) / 1e9,
            unit="GB PSS",
            goal="ours <= 6",
            note=f"{len(sizes)} looks",
        ),
        Figure("processes left after Ctrl-C", left, goal="ours <= 0"),
    ]
    publish("running", figures, processes=[{"process": n, "core_share": c, "pss_bytes": m} for n, c, m in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
