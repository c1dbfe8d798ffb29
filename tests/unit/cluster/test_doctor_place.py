"""The doctor and the writer judge the disk under the database by one list."""

from pathlib import Path

import pytest

from actors.store import filesystem
from cluster.doctor import file_system
from perenne.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize("kind", sorted(filesystem.NETWORK_TYPES))
def test_what_the_writer_would_refuse_the_doctor_says_before(
    kind: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The doctor had a list of its own, shorter than the writer's: on virtiofs it found all in order and the store never came up.
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / ext4 rw 0 0\nshare {str(tmp_path).replace(' ', chr(92) + '040')} {kind} rw 0 0\n")
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    (finding,) = file_system(settings, running=False)
    assert finding.level == "stops"
    assert f"{kind} at {tmp_path}" in finding.sentence
    assert filesystem.network_filesystem(settings.path("store")) == kind


def test_a_local_disk_is_fine_and_so_is_one_that_nobody_can_tell(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    assert [finding.level for finding in file_system(settings, running=False)] == ["fine"]
    (tmp_path / "some").write_text("disk / ext4 rw 0 0\n")
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "some")
    assert [finding.sentence for finding in file_system(settings, running=False)] == ["the home is on ext4 at /"]
