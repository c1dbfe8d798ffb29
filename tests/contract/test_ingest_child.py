"""A parse in its own process: what it survives, which cap it names, and that the next file goes on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from actors.ingest import parser_pool
from actors.ingest.caps import Caps
from actors.ingest.nurse import Nurse, TooSlow, cpu_s
from actors.ingest.parsed import Refused
from actors.ingest.parser_pool import ParsedFile, ParserDied, ParserPool, judge
from perenne.testing import eventually
from tests.unit import ingest_files as files

CAPS = Caps(64 << 20, 500, 2_000_000, 1 << 30, 20.0, 40.0)


@pytest_asyncio.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ParserPool]:
    made = ParserPool(CAPS, tmp_path / "work")
    yield made
    await made.close()


async def parse(pool: ParserPool, tmp_path: Path, content: bytes, name: str, **more: object) -> ParsedFile:
    path = tmp_path / "blob"
    path.write_bytes(content)
    return await pool.parse(path, name=name, output=tmp_path / "out.json", **more)  # type: ignore[arg-type]


def pid_of(pool: ParserPool) -> int:
    return pool.idle[-1].pid


async def test_a_file_is_parsed_beside_us_with_passages_that_are_its_text(pool: ParserPool, tmp_path: Path) -> None:
    parsed = await parse(pool, tmp_path, files.pdf("El perro duerme en la casa. " * 3, "Otra página."), "a.pdf")
    assert parsed.language == "es"
    assert parsed.pages == 2
    assert [parsed.text[c.start : c.end].split()[0] for c in parsed.chunks] == ["El"]


async def test_bombs_are_refused_and_the_next_file_goes_on(tmp_path: Path) -> None:
    pool = ParserPool(replace(CAPS, memory_bytes_max=400 << 20, cpu_s_max=10.0), tmp_path / "work")
    with pytest.raises(Refused, match="bomb"):
        await parse(pool, tmp_path, files.docx_bomb(200 << 20), "a.docx")
    laughs = files.billion_laughs()
    try:
        assert len((await parse(pool, tmp_path, laughs, "a.docx")).text) < 1_000
    except Refused as refusal:
        assert "not well-formed" in str(refusal)  # noqa: PT017 - either end is right: what matters is that there is one
    assert (await parse(pool, tmp_path, b"Words.", "a.txt")).text == "Words."
    await pool.close()


async def test_memory_over_the_cap_is_refused_by_name(tmp_path: Path) -> None:
    pool = ParserPool(
        replace(CAPS, memory_bytes_max=220 << 20, text_chars_max=400_000_000, file_bytes_max=200 << 20), tmp_path / "w"
    )
    with pytest.raises(Refused, match="220 MiB of memory"):
        await parse(pool, tmp_path, b"many words here. " * (7 << 20), "a.txt")
    await pool.close()


async def test_processor_time_over_the_cap_is_refused_by_name(tmp_path: Path) -> None:
    pool = ParserPool(replace(CAPS, cpu_s_max=1.0), tmp_path / "work")
    page = b"<table>" + b"<tr><td>cell and words" * 400_000
    with pytest.raises(Refused, match="more than 1 s of processor time"):
        await parse(pool, tmp_path, page, "a.html")
    await pool.close()


async def test_a_parser_that_is_stopped_ends_at_the_wall_clock_and_is_ours_to_answer_for(tmp_path: Path) -> None:
    pool = ParserPool(replace(CAPS, wall_s_max=1.0), tmp_path / "work")
    await pool.warm()
    os.kill(pid_of(pool), signal.SIGSTOP)
    with pytest.raises(ParserDied, match="waiting for a busy PC"):
        await parse(pool, tmp_path, b"Words.", "a.txt")
    await pool.close()


async def test_a_parser_killed_from_outside_is_not_the_files_fault(pool: ParserPool, tmp_path: Path) -> None:
    await pool.warm()
    taken = pool.idle[-1]
    parsing = asyncio.create_task(parse(pool, tmp_path, b"<table>" + b"<tr><td>cell and words" * 400_000, "a.html"))
    await eventually(lambda: cpu_s(taken.child) > 0.3, 30.0)
    os.kill(taken.child, signal.SIGKILL)
    with pytest.raises(ParserDied, match="killed from outside"):
        await parsing
    assert (await parse(pool, tmp_path, b"Words.", "a.txt")).text == "Words."


async def test_a_cancelled_parse_leaves_no_process(pool: ParserPool, tmp_path: Path) -> None:
    await pool.warm()
    pid = pid_of(pool)
    os.kill(pid, signal.SIGSTOP)
    parsing = asyncio.create_task(parse(pool, tmp_path, b"Words.", "a.txt"))
    await eventually(lambda: not pool.idle)
    parsing.cancel()
    await asyncio.gather(parsing, return_exceptions=True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_files_are_read_by_children_of_one_process_which_none_of_them_ends(pool: ParserPool, tmp_path: Path) -> None:
    await parse(pool, tmp_path, b"Words.", "a.txt")
    pid = pid_of(pool)
    with pytest.raises(Refused):
        await parse(pool, tmp_path, b"%PDF-1.4 and nothing else", "a.pdf")
    taken = pool.idle[-1]
    parsing = asyncio.create_task(parse(pool, tmp_path, b"<table>" + b"<tr><td>cell and words" * 400_000, "a.html"))
    await eventually(lambda: cpu_s(taken.child) > 0.1, 30.0)
    os.kill(taken.child, signal.SIGSEGV)
    with pytest.raises(Refused, match="its parser crashed"):
        await parsing
    assert (await parse(pool, tmp_path, b"Words.", "a.txt")).text == "Words."
    assert pid_of(pool) == pid
    assert pool.memory_bytes > 10 << 20


async def test_a_cancelled_parse_ends_the_child_too(pool: ParserPool, tmp_path: Path) -> None:
    await pool.warm()
    taken = pool.idle[-1]
    parsing = asyncio.create_task(parse(pool, tmp_path, b"<table>" + b"<tr><td>cell and words" * 400_000, "a.html"))
    await eventually(lambda: cpu_s(taken.child) > 0.1, 30.0)
    child = taken.child
    parsing.cancel()
    await asyncio.gather(parsing, return_exceptions=True)
    await eventually(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


async def test_parsers_that_nobody_needs_are_let_go_of(
    pool: ParserPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parse(pool, tmp_path, b"Words.", "a.txt")
    pid = pid_of(pool)
    await pool.rest()
    assert pid_of(pool) == pid
    monkeypatch.setattr(parser_pool, "_REST_S", 0.0)
    await pool.rest()
    assert pid_of(pool) != pid
    assert not pool.idle[-1].used


async def test_a_spare_that_died_is_replaced(pool: ParserPool, tmp_path: Path) -> None:
    await pool.warm()
    os.kill(pid_of(pool), signal.SIGKILL)
    assert (await parse(pool, tmp_path, b"Words.", "a.txt")).text == "Words."


async def test_the_parser_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from actors.ingest.parser_pool import ParserPool\n"
        "from tests.contract.test_ingest_child import CAPS\n"
        "async def main():\n"
        f"    pool = ParserPool(CAPS, Path({str(tmp_path)!r}))\n"
        "    await pool.warm()\n"
        "    print(pool.idle[-1].pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    import sys

    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    await parent.wait()
    await eventually(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


def test_how_a_silent_end_is_judged() -> None:
    assert isinstance(judge(-signal.SIGSEGV, CAPS, 0.1), Refused)
    assert isinstance(judge(-signal.SIGXCPU, CAPS, 0.1), Refused)
    assert isinstance(judge(-signal.SIGKILL, CAPS, CAPS.cpu_s_max), Refused)
    assert isinstance(judge(-signal.SIGKILL, CAPS, 0.1), ParserDied)
    assert isinstance(judge(1, CAPS, 0.1), ParserDied)


async def test_a_parser_that_cannot_be_started_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An OSError of ours (no processes, no memory left) failed the job for good.
    pool = ParserPool(CAPS, tmp_path / "work")
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(ParserDied, match="could not be started"):
        await parse(pool, tmp_path, b"Words.", "a.txt")
    await pool.close()


async def test_a_parser_that_closes_its_end_and_lives_on_is_given_its_time_and_no_more() -> None:
    # Its exit code was waited for without any bound.
    pipe = asyncio.subprocess.PIPE
    command = ("sh", "-c", "exec 1>&-; sleep 60")
    taken = Nurse(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True))
    try:
        with pytest.raises(TooSlow):
            await asyncio.wait_for(taken.ask({}, 0.5, lambda done, total: None, lambda: None), 10.0)
    finally:
        await taken.end()
