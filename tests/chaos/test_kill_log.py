"""The process that fetches the log is killed (SIGKILL) at each of its calls to the disk in turn, amid a write too: what is in the target leads
to every change up to where it ends, and the next one goes on. So is the writer's process at each call by which it copies the log."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each life is a child of its own, for SQLite must not be taken over a fork; none closes the database, as a killed one doesn't.
DRIVER = textwrap.dedent(
    """
    import itertools, json, os, pickle, signal, sys
    from pathlib import Path

    from actors.backups import moments
    from actors.store import checkpoint, handover
    from tests.unit.backups.log_house import LogHouse
    import zstandard

    who, home = sys.argv[1], Path(sys.argv[2])
    handover.SEGMENT_FRAMES = 5
    checkpoint.COPY_S = 3_600.0
    LogHouse.EPOCH = False
    diary = home.with_name("diary")

    def in_a_child(work, *args):
        child = os.fork()
        if child == 0:
            try:
                work(*args)
                os._exit(0)
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(1)
        return os.waitpid(child, 0)[1]

    def taken_up():
        house = LogHouse(home)
        if diary.exists():
            with diary.open("rb") as file:
                house.seq, house.now_ms, house.states = pickle.load(file)
        return house

    def write_down(house):
        with diary.open("wb") as file:
            pickle.dump((house.seq, house.now_ms, house.states), file)

    def commit(house, n):
        house.commit(n % 50 + 1, n % 31 + 2)
        write_down(house)

    def die_at(call):
        calls = itertools.count(1)
        def wrap(module, name):
            real = getattr(module, name)
            def counted(*args, **kwargs):
                if next(calls) == call:
                    if name == "write":
                        real(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            setattr(module, name, counted)
        for name in ("open", "write", "fsync"):
            wrap(os, name)
        for name in ("replace", "unlink", "mkdir", "write_text", "touch"):
            wrap(Path, name)

    def begin():
        house = taken_up()
        commit(house, 1)
        house.handover.copy()
        house.ship()
        house.backup()

    def live(call):
        if who == "copies":
            die_at(call)
        house = taken_up()
        commit(house, call)
        house.handover.copy(begin=True)
        if who == "fetches":
            die_at(call)
            house.ship()

    def look():
        house = taken_up()
        with house.repository() as repository:
            segments, backups = repository.log.segments(), repository.list()
            reach = max(moments.run_of(each, segments).reach for each in backups)
        moment, found = house.restore(moments.Target(seq=reach))
        assert (moment.seq, found) == (reach, house.states[reach]), (moment, reach)
        commit(house, 7)
        house.handover.copy(begin=True)
        house.ship()
        moment, found = house.restore(moments.Target(seq=house.seq))
        assert (moment.seq, found) == (house.seq, house.states[house.seq]), moment
        assert {each.chain for each in house.repository().log.segments()} == {house.handover.chain}

    assert in_a_child(begin) == 0
    for call in itertools.count(1):
        ended = in_a_child(live, call)
        assert in_a_child(look) == 0, call
        if not os.WIFSIGNALED(ended):
            assert ended == 0, ended
            break
    print(json.dumps({"killed": call - 1}))
    """
)


@pytest.mark.parametrize("who", ["fetches", "copies"])
def test_the_chain_goes_on_wherever_its_maker_is_killed(who: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, who, str(tmp_path / "home")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["killed"] >= 8
