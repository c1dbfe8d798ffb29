"""Each thing around us that can be wrong, made wrong: the doctor says it in one sentence with what to type, and is silent before."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.models.catalogue import catalogue
from cluster import doctor, surroundings
from cluster.environment import MARK, token_path
from cluster.findings import Finding
from perenne.settings import Settings, load_settings
from tests.live.running import free_port


class House:
    """A machine's facts, each of which a test can spoil."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.patch, self.kept = home, monkeypatch, ExitStack()
        self.environment = {"PERENNE_HOME": str(home), "PERENNE_MODELS": str(home / "models")}

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment)

    def write(self, path: Path, mode: int = 0o600) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        path.chmod(mode)
        return path

    def found(self, look: Callable[[Settings, bool], Iterator[Finding]]) -> list[Finding]:
        return [finding for finding in look(self.settings, False) if finding.level != "fine"]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    made = House(tmp_path / "home", monkeypatch)
    with made.kept:
        yield made


def open_key(house: House) -> None:
    house.write(house.settings.path("key"), 0o644)


def open_token(house: House) -> None:
    house.write(token_path(house.settings), 0o640)


def orphan(house: House) -> None:
    words = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    marked = {**os.environ, MARK: house.settings.ray_dir}
    left = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True, env=marked)
    assert left.stdout is not None
    left.stdout.readline()
    house.kept.callback(left.wait)
    house.kept.callback(left.kill)


def taken_block(house: House) -> None:
    first = free_port()
    house.environment["PERENNE_PORT_BASE"] = str(first)
    house.kept.enter_context(socket.create_server(("127.0.0.1", first)))


def few_files(house: House) -> None:
    house.patch.setattr(resource, "getrlimit", lambda _: (256, 256))


def few_watches(house: House) -> None:
    house.patch.setattr(surroundings, "INOTIFY", house.home)
    house.write(house.home / "max_user_watches").write_text("512\n")


def closed_temporary(house: House) -> None:
    access = os.access
    house.patch.setattr(os, "access", lambda path, mode: str(path) != "/tmp" and access(path, mode))


def taken_temporary(house: House) -> None:
    folder = Path(house.settings.ray_dir)
    folder.symlink_to(house.home)
    house.kept.callback(folder.unlink)


def only_ipv6(house: House) -> None:
    house.patch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET6, 1, 6, "", ("::1", 8000, 0, 0))])


def no_localhost(house: House) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    house.patch.setattr(socket, "getaddrinfo", unknown)


def clock_went_back(house: House) -> None:
    path = house.write(house.home / "store" / "perenne.db")
    os.utime(path, (time.time() + 86_400, time.time() + 86_400))


def clock_is_dead(house: House) -> None:
    house.patch.setattr(time, "time", lambda: 0.0)


def half_a_model(house: House) -> None:
    model = catalogue()[house.settings.embedding.model]
    house.write(house.home / "models" / ".partial" / model.id / model.files[0].name)


def changed_weights(house: House) -> None:
    model = catalogue()[house.settings.embedding.model]
    house.write(house.home / "models" / model.id / model.files[0].name)


CASES = [
    (open_key, surroundings.key_files, "key_file", "warns", "chmod 600"),
    (open_token, surroundings.key_files, "key_file", "warns", "chmod 600"),
    (orphan, surroundings.leftovers, "leftovers", "warns", "down"),
    (taken_block, surroundings.port_block, "port_block", "stops", "unset PERENNE_PORT_BASE"),
    (few_files, surroundings.open_files, "open_files", "warns", "ulimit -n 4096"),
    (few_watches, surroundings.inotify, "inotify", "warns", "sysctl fs.inotify.max_user_watches=8192"),
    (closed_temporary, surroundings.temporary, "temporary", "stops", "chmod 1777 /tmp"),
    (taken_temporary, surroundings.temporary, "temporary", "stops", "rm -rf /tmp/perenne-"),
    (only_ipv6, surroundings.localhost, "localhost", "warns", "/etc/hosts"),
    (no_localhost, surroundings.localhost, "localhost", "warns", "/etc/hosts"),
    (clock_went_back, surroundings.clock, "clock", "warns", "timedatectl"),
    (clock_is_dead, surroundings.clock, "clock", "warns", "timedatectl"),
]


@pytest.mark.parametrize(("spoil", "look", "about", "level", "remedy"), CASES, ids=[case[0].__name__ for case in CASES])
def test_what_is_wrong_is_said_with_what_to_type_and_not_before(
    house: House, spoil: Callable[[House], None], look, about: str, level: str, remedy: str
) -> None:
    if look is not surroundings.inotify:  # a machine of a test may have any limits
        assert house.found(look) == []
    spoil(house)
    (finding,) = house.found(look)
    assert (finding.about, finding.level) == (about, level)
    assert remedy in finding.remedy
    assert finding.sentence.endswith(".")
    assert ". " not in finding.sentence
    assert look in doctor.LOOKS


@pytest.mark.parametrize("spoil", [half_a_model, changed_weights])
def test_a_model_that_is_there_in_part_is_not_called_there(house: House, spoil: Callable[[House], None]) -> None:
    # Any name within the folder counted, so that half a download was in order.
    spoil(house)
    model = house.settings.embedding.model
    finding = next(one for one in house.found(doctor.weights) if model in one.sentence)
    assert "in part" in finding.sentence
    assert finding.remedy.endswith(f"models pull {model}")


def test_the_lookers_around_find_nothing_wrong_while_it_runs_that_only_a_start_would_meet(house: House) -> None:
    orphan(house)
    taken_block(house)
    assert [*surroundings.leftovers(house.settings, True), *surroundings.port_block(house.settings, True)] == []
