"""What the house costs: second start to ready and to the first answer, memory and processor while idle, peak memory at work.

Starts an instance of its own with `perenne up` in a scratch home, so that nothing else is measured. Run as
`python -m benchmarks.running`; PERENNE_PROFILE and PERENNE_MODELS choose the models. At work, two people ask one question after
another, no two alike, whose answers are in documents, while long documents are taken in; memory is looked at every second.
"""

import argparse
import asyncio
import json
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
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

import perenne
from benchmarks.report import Figure, publish
from cluster.processes import of_instance
from perenne.settings import load_settings
from tests.live.tied import Tied

IDLE_S = 60.0  # over how long idle processor time is measured
SETTLE_S = 20.0  # rest before it
SAMPLE_S = 1.0  # from one look at memory to the next while it works
LOOKS = 3  # at the same processes, before new ones are looked for
WORK_S = 90.0  # of work; what is begun by then is finished
ASKING = 2  # people, each with one question at a time
FACTS = 200  # documents with an answer each
WORK_PARAGRAPHS = 3_000  # of a document that is taken in meanwhile: about 400,000 characters
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
        due = time.monotonic() + SAMPLE_S
        while not over.wait(max(0.0, due - time.monotonic())):
            due = max(due + SAMPLE_S, time.monotonic())
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
    """`perenne up` until it answers ready; yields the seconds that took. Ends it with Ctrl-C's signal, and when this process is killed."""
    env = {**os.environ, "PERENNE_HOME": str(home), "PERENNE_PORT": str(port), **environment}
    log = (home.parent / f"{home.name}.log").open("ab")
    begun = time.monotonic()
    root = subprocess.Popen([Path(sys.executable).with_name("perenne"), "up"], env=env, stdout=log, stderr=log)
    tied = Tied(root.pid)
    try:
        wait_ready(port, root)
        yield time.monotonic() - begun
    finally:
        root.send_signal(signal.SIGINT)
        try:
            root.wait(60)
        except subprocess.TimeoutExpired:
            root.kill()
        tied.loose()
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


@dataclass
class Work:
    """What was done: answers in all, those from documents, those with the right year; passages taken in; and for how long."""

    answers: int = 0
    grounded: int = 0
    right: int = 0
    passages: int = 0
    seconds: float = 0.0


def fact(number: int) -> tuple[str, str, str]:
    """A text, a question that it answers, and the answer. Each has a name and a year of its own."""
    name = "".join("bdfglmnprstv"[int(d)] + "aeiou"[int(d) % 5] for d in f"{number:03}").title()
    year = str(1500 + number * 2)
    text = (
        f"The lighthouse of {name} was built in {year} and its light is seen from {10 + number % 25} nautical miles away. "
        f"Its keeper was Marie {name[::-1].title()}, who lived there for {3 + number % 40} years."
    )
    return text, f"When was the lighthouse of {name} built?", year


def write_facts(path: Path) -> None:
    lines = ({"id": f"fact-{n}", "title": "Lighthouses", "text": fact(n)[0]} for n in range(FACTS))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_long(path: Path, number: int) -> None:
    """A document like no other."""
    path.write_text("\n\n".join(f"Log {number}, page {page}. {_TEXT}" for page in range(WORK_PARAGRAPHS)))


async def work(port: int, home: Path, scratch: Path, work_s: float) -> Work:
    """Answers are written while documents are taken in: what costs most memory at once."""
    done, questions = Work(), iter(range(FACTS))
    async with perenne.connect(f"http://127.0.0.1:{port}", home=str(home)) as client:
        project = (await client.create_project("work")).id
        lines = scratch / "facts.jsonl"
        await asyncio.to_thread(write_facts, lines)
        job = await client.wait_job((await client.add_jsonl(lines, project)).id)
        if job.state != "done":
            raise SystemExit(f"the facts could not be taken in: {job.reason}")
        began = time.monotonic()

        async def ask() -> None:
            while time.monotonic() - began < work_s and (number := next(questions, None)) is not None:
                _, question, year = fact(number)
                answer = await client.ask(question, project)
                done.answers += 1
                done.grounded += answer.grounded
                done.right += answer.grounded and year in answer.text

        async def take_in() -> None:
            number = 0
            while time.monotonic() - began < work_s:
                path = scratch / f"log-{number}.txt"
                await asyncio.to_thread(write_long, path, number)
                added = await client.add(path, "default")
                job = await client.wait_job(added.job.id) if added.job is not None else None
                if job is None or job.state != "done":
                    raise SystemExit(f"{path.name} was not taken in: {'it is there already' if job is None else job.reason}")
                done.passages += (await client.document(added.document.id)).chunks
                number += 1

        await asyncio.gather(take_in(), *(ask() for _ in range(ASKING)))
        done.seconds = time.monotonic() - began
    if done.grounded == 0:
        raise SystemExit(f"none of {done.answers} answers was from the documents: this was no work")
    return done


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-s", type=float, default=WORK_S, help="seconds of answers and documents")
    work_s = parser.parse_args().work_s
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
                done = asyncio.run(work(port, home, Path(scratch), work_s))
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
            note=f"{len(sizes)} looks in {done.seconds:.0f} s",
        ),
        Figure("answers from documents meanwhile", done.grounded, done.answers, note="theirs: questions asked"),
        Figure("answers with the right year meanwhile", done.right, done.answers, note="theirs: questions asked"),
        Figure(
            "passages taken in meanwhile", done.passages / done.seconds, unit="passages/s", note=f"{done.passages:,} in all"
        ),
        Figure("processes left after Ctrl-C", left, goal="ours <= 0"),
    ]
    publish("running", figures, processes=[{"process": n, "core_share": c, "pss_bytes": m} for n, c, m in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
