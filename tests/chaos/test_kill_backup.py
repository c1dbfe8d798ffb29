"""A process that backs up is killed (SIGKILL) at each of its calls to the disk in turn, amid a write too: what is listed is
whole, the next prune cleans up, and the next backup goes on."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Forks a child for each call; Python and what it imports are loaded once.
DRIVER = textwrap.dedent(
    """
    import io, itertools, json, os, random, signal, sys
    from pathlib import Path

    from actors.backups import charter, manifest, marks, pieces, reading
    from actors.backups.repository import Cut, Repository, Retention
    import zstandard, cryptography.hazmat.primitives.ciphers.aead

    charter._WORK["n"] = 1 << 10
    target, passphrase, step = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
    RULES = Retention(hourly=0, daily=0, weekly=0, monthly=0, last=2)
    scratch = Path(target).with_name("restored")

    def content(generation):
        shared = random.Random(0).randbytes(2 * pieces.PIECE_BYTES)
        own = random.Random(generation).randbytes(pieces.PIECE_BYTES + generation)
        return {"shared": shared, "own": own, "text": b"same " * 1000, "number": str(generation).encode()}

    def backup(repository, generation):
        with repository.begin() as writer:
            for name, data in content(generation).items():
                writer.add_file(name, io.BytesIO(data))
            writer.commit(Cut(kind="manual", seq=generation))

    def die_at(call):
        calls = itertools.count(1)  # whose next() no two threads share
        def wrap(module, name):
            real = getattr(module, name)
            def counted(*args, **kwargs):
                if next(calls) == call:
                    if name == "write":
                        real(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            setattr(module, name, counted)
        for name in ("open", "write", "fsync", "link"):
            wrap(os, name)
        for name in ("replace", "unlink", "mkdir"):
            wrap(Path, name)

    generation, call, killed, listed_most, rounds = 0, 0, 0, 0, 0
    while True:
        generation, call = generation + 1, call + step
        child = os.fork()
        if child == 0:
            try:
                die_at(call)
                repository = Repository.open(target, passphrase, create=True)
                backup(repository, generation)
                repository.prune(RULES)
                os._exit(0)
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            assert status == 0, status
            call, rounds = 0, rounds + 1
            if rounds == 2:  # the first begins with nothing, the second with backups to add to and to prune
                break
            continue
        killed += 1
        repository = Repository.open(target, passphrase, create=True)
        assert not repository.damaged(), call
        listed = repository.list()
        listed_most = max(listed_most, len(listed))
        for summary in listed:
            report = repository.verify(summary.id)
            assert report.ok, (call, report)
            wanted = content(summary.cut.seq)
            entries = repository.manifest(summary.id).entries
            assert {entry.name for entry in entries} == set(wanted)
            for entry in entries:
                repository.restore_file(entry, scratch)
                assert scratch.read_bytes() == wanted[entry.name], (call, entry)
        pruned = repository.prune(RULES)
        assert pruned.skipped == "", (call, pruned)
        named = {piece for s in repository.list() for piece in reading.named_by(repository.manifest(s.id), repository._pieces)}
        there = {str(path.relative_to(target)) for path in Path(target).rglob("*") if path.is_file()}
        assert there == (
            {pieces.object_name(piece) for piece in named}
            | {manifest.object_name(s.id) for s in repository.list()}
            | {*charter.NAMES, marks.RESERVE}
        ), (call, there)
    print(json.dumps({"killed": killed, "listed_most": listed_most}))
    """
)


@pytest.mark.parametrize("passphrase", ["", "geheim"], ids=["plain", "encrypted"])
def test_a_backup_killed_at_any_call_to_the_disk_leaves_whole_backups(passphrase: str, tmp_path: Path) -> None:
    step = 7 if passphrase else 2  # the calls are the same; the second is for the other bytes
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path / "r"), passphrase, str(step)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["killed"] >= 120 // step
    assert told["listed_most"] == 3  # killed between listing the new one and pruning the oldest too
