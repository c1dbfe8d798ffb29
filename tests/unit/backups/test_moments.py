"""Any moment between two backups comes back from the log, and nothing that is not such a moment ever does."""

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backups import moments
from actors.backups.manifest import Cut, Summary
from actors.backups.moments import Target
from actors.backups.shipping import NAME
from actors.store import checkpoint, handover
from perenne.errors import BackupDamaged, InvalidRequest, PerenneError
from perenne.log_segments import LOST, Segment, waiting
from perenne.schedules import read_schedule
from tests.unit.backups.log_house import LogHouse


@contextlib.contextmanager
def living(passphrase: str | None = None) -> Iterator[LogHouse]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # what is slow in here is the disk's flushes
    with tempfile.TemporaryDirectory(dir=memory) as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover, "SEGMENT_FRAMES", 5)
        patch.setattr(checkpoint, "COPY_S", 3_600.0)  # the test says when
        house = LogHouse(Path(home), passphrase)
        try:
            yield house
        finally:
            house.close()


COMMITS = st.lists(st.integers(1, 60), min_size=1, max_size=4).map(lambda changes: ("commit", *changes))
STEPS = st.lists(
    st.one_of(
        COMMITS, COMMITS, COMMITS, st.sampled_from([("copy",), ("aside",), ("ship",), ("backup",), ("reopen",), ("die",)])
    ),
    min_size=4,
    max_size=24,
)


def lived(house: LogHouse, steps: list[tuple[object, ...]]) -> int:
    """Do the steps; the number that the first backup was made at."""
    house.commit(1, 2)
    house.backup()
    first = house.seq
    for what, *changes in steps:
        if what == "commit":
            house.commit(*(int(str(change)) for change in changes))
        elif what == "copy":
            house.handover.copy(begin=True)
        elif what == "aside":
            house.aside()
        elif what == "ship":
            house.ship()
        elif what == "backup":
            house.backup()
        else:
            if what == "die":  # the log stays as it is
                kept = house.home / "kept"
                shutil.copytree(house.path.parent, kept)
                house.close()
                shutil.rmtree(house.path.parent)
                kept.rename(house.path.parent)
                house.path.with_name("perenne.db-shm").unlink()
            else:
                house.close()
            house.open()
    house.handover.copy()
    house.ship()
    return first


@given(steps=STEPS)
def test_every_change_comes_back_as_it_was(steps: list[tuple[object, ...]]) -> None:
    with living() as house:
        first = lived(house, steps)
        assert not (house.folder / LOST).exists()
        wanted = sorted(house.states)
        for seq in [*range(first, house.seq + 1)]:
            before = max(each for each in wanted if each <= seq)
            moment, found = house.restore(Target(seq=seq))
            assert (moment.seq, found) == (before, house.states[before]), seq
        for seq, at_ms in list(house.times.items())[::3]:
            if seq >= first:
                moment, found = house.restore(Target(at_ms=at_ms))
                assert (moment.seq, found) == (seq, house.states[seq])
                if seq > first:
                    moment, found = house.restore(Target(at_ms=at_ms - 1))
                    assert moment.seq == max(each for each in house.times if each < seq)


@pytest.fixture
def house() -> Iterator[LogHouse]:
    with living() as house:
        house.commit(1, 2)
        house.backup()
        for n in range(8):
            house.commit(n * 7 % 50 + 1, n * 11 % 50 + 1)
            house.handover.copy()
            if n in (3, 6):
                house.aside()
        house.ship()
        yield house


def objects(house: LogHouse) -> list[Path]:
    """The segments in the target, in their order."""
    found = {path.name: path for path in (house.target / "log").rglob("*") if path.is_file()}
    return [found[name] for name in sorted(found)]


def test_there_is_more_than_one_generation_to_lose(house: LogHouse) -> None:
    assert len({each.salts for each in house.repository().log.segments()}) >= 2
    assert len(objects(house)) > 8


def test_a_missing_segment_is_named_and_what_is_before_it_still_comes_back(house: LogHouse) -> None:
    paths = objects(house)
    segments = house.repository().log.segments()
    for place in range(1, len(paths)):
        data = paths[place].read_bytes()
        paths[place].unlink()
        if place < len(paths) - 1:
            with pytest.raises(BackupDamaged, match=f"segment {segments[place].number} of .*missing"):
                house.restore(Target(seq=house.seq))
        reach = max(2, segments[place - 1].seq)  # the backup's own at least
        assert house.restore(Target(seq=reach))[1] == house.states[reach]
        paths[place].write_bytes(data)
    assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]


def test_without_the_last_segments_their_changes_are_refused(house: LogHouse) -> None:
    objects(house)[-1].unlink()
    reach = house.repository().log.segments()[-1].seq
    with pytest.raises(InvalidRequest, match=f"change {house.seq} can't be brought back; there are: .*change {reach}"):
        house.restore(Target(seq=house.seq))


def test_each_damaged_segment_is_named_whatever_is_damaged(house: LogHouse) -> None:
    chance = random.Random(4)
    segments = house.repository().log.segments()
    for path, segment in zip(objects(house), segments, strict=True):
        data = path.read_bytes()
        for damaged in (
            data[: len(data) // 2],
            b"",
            *(
                data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
                for at, bit in [(chance.randrange(len(data)), n) for n in range(8)]
            ),
        ):
            path.write_bytes(damaged)
            with pytest.raises(BackupDamaged, match=f"segment {segment.number} of "):
                house.restore(Target(seq=house.seq))
        path.write_bytes(data)
    assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]


def test_segments_in_another_order_are_refused(house: LogHouse) -> None:
    paths = objects(house)
    for one, other in ((1, 2), (0, len(paths) - 1), (3, 6)):
        first, second = paths[one].read_bytes(), paths[other].read_bytes()
        paths[one].write_bytes(second)
        paths[other].write_bytes(first)
        with pytest.raises(BackupDamaged, match=f"segment {one + 1} of "):
            house.restore(Target(seq=house.seq))
        paths[one].write_bytes(first)
        paths[other].write_bytes(second)


def test_a_frame_that_the_copy_left_out_is_found_by_sqlite_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant of the copy: well formed, well signed, and one frame is the one before it."""
    with living() as house:
        house.commit(1, 2)
        house.backup()
        house.ship()
        real = handover.Content.packed

        def skipping(content: handover.Content) -> bytes:
            size = 24 + 4096
            frames = content.frames
            if len(frames) >= 3 * size:
                frames = frames[:size] + frames[:size] + frames[2 * size :]
            return real(handover.Content(content.before, content.header, frames))

        monkeypatch.setattr(handover.Content, "packed", skipping)
        for n in range(4):
            house.commit(n * 7 + 1, n * 5 + 2)
            house.handover.copy()
        house.ship()
        with pytest.raises(BackupDamaged, match="SQLite took"):
            house.restore(Target(seq=house.seq))


def test_a_backup_is_not_carried_on_by_the_log_of_another_database(house: LogHouse) -> None:
    with house.repository() as repository:
        run = moments.plan(repository.list(), repository.log.segments(), Target(seq=house.seq))
    with living() as other:
        other.commit(5, 7)
        other.backup()
        other.commit(8)
        other.handover.copy()
        other.ship()
        with other.repository() as repository:
            (backup,) = repository.list()
            assert not moments.run_of(backup, run.segments).segments


def test_what_is_before_the_first_backup_or_after_the_last_is_refused_with_what_there_is(house: LogHouse) -> None:
    with pytest.raises(InvalidRequest, match=rf"change 1 is before the first backup.*\(change 2\) to .*\(change {house.seq}\)"):
        house.restore(Target(seq=1))
    with pytest.raises(InvalidRequest, match=f"change {house.seq + 1} can't be brought back"):
        house.restore(Target(seq=house.seq + 1))
    with pytest.raises(InvalidRequest, match="before the first backup"):
        house.restore(Target(at_ms=5))
    moment, found = house.restore(Target(at_ms=house.now_ms + 10_000_000))  # the last that there is
    assert (moment.seq, found) == (house.seq, house.states[house.seq])


def test_a_time_in_which_the_log_was_not_kept_is_refused(house: LogHouse) -> None:
    kept = house.seq
    house.handover.lose("the disk was full")
    house.commit(9, 10)
    house.handover.copy(begin=True)
    missed_at = house.now_ms
    house.commit(11)
    house.handover.copy()
    house.ship()
    with pytest.raises(InvalidRequest, match=rf"\(change {kept}\) the log was not kept for a while"):
        house.restore(Target(at_ms=missed_at))
    with pytest.raises(InvalidRequest, match="can't be brought back"):
        house.restore(Target(seq=kept + 1))
    house.backup()
    house.commit(12)
    house.handover.copy()
    house.ship()
    assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]  # from the next backup on
    with pytest.raises(PerenneError):
        house.restore(Target(seq=kept + 1))


def test_an_older_backup_leads_to_the_same_moment(house: LogHouse) -> None:
    (first,) = (each.id for each in house.repository().list())
    house.backup()
    house.commit(13)
    house.handover.copy()
    house.ship()
    assert house.restore(Target(seq=house.seq), first)[1] == house.restore(Target(seq=house.seq))[1] == house.states[house.seq]


def summary(ordinal: int, seq: int, origin: str, salts: str) -> Summary:
    cut = Cut(
        kind="manual", database="sqlite", seq=seq, origin=origin, notes={moments.NOTE: f"{salts}-1", moments.AT: str(ordinal)}
    )
    return Summary(f"b{ordinal}", ordinal, float(ordinal), cut, 1, 1, 1, 1, 0.1)


def test_a_number_that_two_databases_had_means_the_one_that_was_last() -> None:
    """A home was restored: its feed went on from 10 a second time."""

    def segment(chain: str, salts: str, seq: int, at_ms: int) -> Segment:
        return Segment(chain=chain, number=1, how="begins", salts=salts, first=1, last=9, seq=seq, at_ms=at_ms)

    old, new = summary(1, 5, "old", "a" * 16), summary(2, 10, "new", "b" * 16)
    segments = [
        segment("20261126T000000000-00000000", "a" * 16, 30, 1_500),
        segment("20261126T000000001-00000000", "b" * 16, 20, 3_000),
    ]
    assert moments.plan([old, new], segments, Target(seq=15)).backup is new
    assert moments.plan([old, new], segments, Target(seq=7)).backup is old
    assert moments.plan([old, new], segments, Target(at_ms=9_000)).backup is new
    assert moments.plan([old, new], segments, Target(at_ms=1_400)).backup is old
    with pytest.raises(InvalidRequest, match="change 25 can't be brought back"):
        moments.plan([old, new], segments, Target(seq=25))
    assert moments.plan([old, new], segments, Target(seq=25), "b1").backup is old  # who names it means it


def test_with_a_passphrase_nothing_of_the_log_can_be_read() -> None:
    with living("geheim") as house:
        house.connection.execute("INSERT INTO meta VALUES ('word', 'Rumpelstilzchen')")
        house.commit(1, 2)
        house.backup()
        house.commit(4, 5)
        house.handover.copy()
        house.ship()
        assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]
        assert objects(house)
        assert not any(b"Rumpelstilzchen" in path.read_bytes() for path in house.target.rglob("*") if path.is_file())


def test_segments_go_when_no_moment_that_is_kept_needs_them(house: LogHouse) -> None:
    first = house.repository().list()[0]
    for n in range(3):
        house.commit(n + 20)
        house.handover.copy()
    house.aside()
    house.commit(30)
    house.handover.copy()
    house.ship()
    house.backup()
    house.commit(31)
    house.handover.copy()
    house.ship()
    with house.repository() as repository:
        segments, backups = repository.log.segments(), repository.list()
        assert moments.unneeded(backups, segments, 1e6, house.now_ms / 1000) == []
        gone = moments.unneeded(backups, segments, 0.0, house.now_ms / 1000 + 1)
        assert gone
        repository.log.drop(gone)
    assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]
    with pytest.raises(InvalidRequest):
        house.restore(Target(seq=first.cut.seq + 1))


def test_the_writers_folder_is_emptied_but_for_what_it_goes_on_from(house: LogHouse) -> None:
    (left,) = waiting(house.folder)
    assert left == house.repository().log.segments()[-1]
    house.ship()
    assert waiting(house.folder) == [left]
    assert house.shipper.loss_s < 3_600


def standing(house: LogHouse) -> tuple[bool, str]:
    house.shipper._asked_at = -1e9  # it asks at once
    house.ship()
    said = read_schedule(house.home, NAME)
    assert said is not None
    assert said.last is not None
    return said.last.ok, said.last.detail


def test_a_chain_that_ended_is_told_until_there_is_a_backup_in_the_next(house: LogHouse) -> None:
    assert standing(house)[0]
    house.handover.lose("the disk was full")
    house.commit(3)
    assert standing(house) == (False, "the disk was full. Moments can be brought back again from the next backup on")
    house.handover.copy(begin=True)
    house.commit(5)
    house.handover.copy()
    assert not standing(house)[0]
    house.backup()
    assert standing(house)[0]
    assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]


def test_a_target_that_is_away_loses_nothing_and_says_how_far_it_is_behind(house: LogHouse) -> None:
    away = house.home / "away"
    house.target.rename(away)
    house.target.write_text("no folder")
    house.shipper._repository = None
    house.commit(3)
    house.handover.copy()
    ok, words = standing(house)
    assert not ok
    assert "waits for the backups' target" in words
    assert len(waiting(house.folder)) >= 2
    house.target.unlink()
    away.rename(house.target)
    assert standing(house)[0]
    assert house.restore(Target(seq=house.seq))[1] == house.states[house.seq]
