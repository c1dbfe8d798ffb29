"""Broken files through the real parsers: `python -m tests.fuzz.parsers --inputs 10000`. Ends 1 when one had no answer.

An answer is text or a refusal with its code. There is none when the pool falls over, when a parser fails or ends by no fault of the
file's, or when it takes longer than its caps."""

import argparse
import asyncio
import os
import platform
import resource
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from actors.ingest.caps import Caps
from actors.ingest.parsed import Refused
from actors.ingest.parser_pool import ParsedFile, ParserDied, ParserPool
from tests.fuzz.mutations import mutated
from tests.fuzz.originals import PASSWORD, originals

CAPS = Caps(
    32 << 20, 2_000, 5_000_000, 1 << 30, 20.0, 600.0, unpacked_bytes_max=64 << 20, entries_max=2_000, nesting_max=3
)  # of the wall clock ten minutes: this runs beside other work

KEPT = Path(__file__).resolve().parents[2] / "build" / "fuzz"  # where an input without an answer is kept


@dataclass
class Tally:
    """What became of the inputs."""

    ends: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ways: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    nurses: set[int] = field(default_factory=set)

    def add(self, name: str, way: str, seed: int, end: str, cpu_s: float, memory_bytes: int) -> None:
        self.ends[name][end] += 1
        self.ways[way.partition("+")[0]]["text" if end == "text" else "refused"] += 1
        self.slowest[name] = max(self.slowest.get(name, (0.0, "")), (cpu_s, f"{way}, seed {seed}, {end}"))
        self.memory[name] = max(self.memory.get(name, 0), memory_bytes)

    @property
    def inputs(self) -> int:
        return sum(sum(ends.values()) for ends in self.ends.values())


def check(parsed: ParsedFile) -> None:
    """Every passage is its stretch of the text, in order and without white space at its ends."""
    for chunk in parsed.chunks:
        passage = parsed.text[chunk.start : chunk.end]
        assert passage == passage.strip(), (chunk.start, chunk.end)
        assert passage, (chunk.start, chunk.end)
    assert all(before.end <= after.start for before, after in zip(parsed.chunks, parsed.chunks[1:], strict=False))


async def one(pool: ParserPool, folder: Path, name: str, seed: int, tally: Tally) -> None:
    """One input, and its end in the tally."""
    content, way = mutated(originals()[name], name, seed)
    path = folder / "blob"
    path.write_bytes(content)
    pool.memory_bytes, pool.cpu_s = 0, 0.0
    password = PASSWORD if name.startswith("locked") else None
    try:
        parsed = await pool.parse(path, name=name, output=folder / "out.json", password=password)
        check(parsed)
        end = "text"
    except Refused as refusal:
        end = "crashed" if "its parser crashed" in str(refusal) else refusal.code
    except (ParserDied, AssertionError) as error:
        end = "NO ANSWER"
        tally.unanswered.append(f"{name}, {way}, seed {seed}: {type(error).__name__}: {error}")
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{seed}-{name}").write_bytes(content)
    tally.add(name, way, seed, end, pool.cpu_s, pool.memory_bytes)
    tally.nurses.update(held.pid for held in pool.idle)


async def run(inputs: int, first_seed: int, workers: int, within: Path) -> Tally:
    """Every format in turn."""
    names, tally = sorted(originals()), Tally()
    numbers = iter(range(inputs))
    began = time.monotonic()

    async def work(number: int) -> None:
        folder = within / str(number)
        folder.mkdir()
        pool = ParserPool(CAPS, folder / "work")
        try:
            for index in numbers:
                await one(pool, folder, names[index % len(names)], first_seed + index // len(names), tally)
                if index % 500 == 499:
                    print(
                        f"{index + 1:6} inputs, {time.monotonic() - began:,.0f} s, without an answer: {len(tally.unanswered)}",
                        flush=True,
                    )
        finally:
            await pool.close()

    await asyncio.gather(*(work(number) for number in range(workers)))
    return tally


def report(tally: Tally, seed: int, workers: int, took_s: float) -> str:
    """The page `docs/fuzz.md`."""
    codes = sorted({code for ends in tally.ends.values() for code in ends} - {"text"})
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    lines = [
        "# Broken files through the parsers",
        "",
        "Written by `make fuzz` (`tests/fuzz/parsers.py`): files of every format, broken by seed, through the parsers as they run in",
        "production: a child for each, under the caps below. An answer is text or a refusal with its code (`docs/reasons.md`);",
        "`crashed` is a parser that the file ended, which its owner is told as `damaged`.",
        "",
        f"- {tally.inputs:,} inputs over {len(tally.ends)} files, seeds from {seed}; without an answer: **{len(tally.unanswered)}**.",
        f"- Long-lived processes: this program, and {workers} that fork the parsers, of which {len(tally.nurses) - workers} had to",
        "  be replaced.",
        f"- {took_s:,.0f} s on {os.cpu_count()} shared processors at low priority, {used.ru_utime + used.ru_stime:,.0f} s of",
        f"  processor time in the parsers. Peak memory of a parser {max(tally.memory.values(), default=0) >> 20:,} MiB, of this",
        f"  program {own.ru_maxrss >> 10:,} MiB. Python {platform.python_version()}.",
        f"- Caps: file {CAPS.file_bytes_max >> 20} MiB, unpacked {CAPS.unpacked_bytes_max >> 20} MiB, {CAPS.entries_max:,} entries,",
        f"  nesting {CAPS.nesting_max}, {CAPS.pages_max:,} pages, {CAPS.text_chars_max:,} characters of text, memory",
        f"  {CAPS.memory_bytes_max >> 20:,} MiB, processor {CAPS.cpu_s_max:g} s.",
        "",
        "| file | inputs | text | " + " | ".join(codes) + " | slowest, s of processor | peak, MiB |",
        "|---" * (len(codes) + 5) + "|",
    ]
    for name in sorted(tally.ends):
        ends = tally.ends[name]
        cells = [name, f"{sum(ends.values()):,}", f"{ends['text']:,}", *(f"{ends[code] or ''}" for code in codes)]
        slow, what = tally.slowest[name]
        lines.append("| " + " | ".join([*cells, f"{slow:.1f} ({what})", f"{tally.memory[name] >> 20:,}"]) + " |")
    lines += ["", "| broken by | text | refused |", "|---|---|---|"]
    lines += [f"| {way} | {ends['text']:,} | {ends['refused']:,} |" for way, ends in sorted(tally.ways.items())]
    if tally.unanswered:
        lines += ["", "Without an answer:", "", *(f"- {line}" for line in tally.unanswered[:50])]
    return "\n".join(lines) + "\n"


def main() -> int:
    """-> the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--report", type=Path)
    given = options.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perenne-fuzz-") as folder:
        tally = asyncio.run(run(given.inputs, given.seed, given.workers, Path(folder)))
    page = report(tally, given.seed, given.workers, time.monotonic() - began)
    print(page)
    if given.report:
        given.report.write_text(page, encoding="utf-8")
    return 1 if tally.unanswered or tally.inputs != given.inputs else 0


if __name__ == "__main__":
    raise SystemExit(main())
