"""Archives: each member a file of its own, its path only a name, and every cap a clear end."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from actors.ingest.caps import Caps
from actors.ingest.parsed import Parsed, Refused
from actors.ingest.reading import read
from actors.ingest.source import Source
from tests.unit import ingest_files as files

CAPS = Caps(1 << 20, 500, 2_000_000, 2 << 30, 30.0, 60.0, unpacked_bytes_max=4 << 20, entries_max=20, nesting_max=2)


def tar(parts: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def locked(parts: dict[str, bytes], password: bytes) -> bytes:
    from pyzipper import WZ_AES, AESZipFile

    out = io.BytesIO()
    with AESZipFile(out, "w", encryption=WZ_AES) as archive:
        archive.setpassword(password)
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def expand(tmp_path: Path, content: bytes, name: str = "a.zip", caps: Caps = CAPS, password: str | None = None) -> Parsed:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "blob"
    path.write_bytes(content)
    return read(Source(path=path, name=name, caps=caps, password=password), tmp_path / "out.json")


def held(tmp_path: Path, parsed: Parsed) -> dict[str, bytes]:
    return {member.path: (tmp_path / "out.members" / member.file).read_bytes() for member in parsed.members}


PARTS: dict[str, bytes] = {"notes/a.txt": b"Words of a.", "b.md": b"# B\n\nWords.", "c.png": b"\x89PNG\r\n\x1a\n...."}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", files.archive(dict(PARTS))),
        ("a.tar", tar(PARTS)),
        ("a.tar.gz", gzip.compress(tar(PARTS))),
        ("a.tbz2", bz2.compress(tar(PARTS))),
        ("a.txz", lzma.compress(tar(PARTS))),
    ],
    ids=lambda value: (
        "bytes" if isinstance(value, bytes) else value
    ),  # packed bytes hold the time: two processes would disagree
)
def test_the_members_of_any_archive_are_files_and_the_archive_lists_them(tmp_path: Path, name: str, content: bytes) -> None:
    parsed = expand(tmp_path, content, name)
    assert held(tmp_path, parsed) == {"notes/a.txt": b"Words of a.", "b.md": b"# B\n\nWords."}
    assert [(each.path, each.code) for each in parsed.skipped] == [("c.png", "unsupported")]
    assert "notes/a.txt\nb.md\nc.png (a PNG image is not supported" in parsed.text


def test_archives_within_are_opened_with_the_whole_path_and_files_of_office_are_not(tmp_path: Path) -> None:
    docx = files.docx(files.paragraph("Hello"))
    inner = gzip.compress(tar({"deep/x.txt": b"X.", "y.docx": docx}))
    parsed = expand(tmp_path, files.archive({"in/inner.tar.gz": inner, "z.txt.gz": gzip.compress(b"Z.")}))
    assert list(held(tmp_path, parsed)) == ["in/inner.tar.gz/deep/x.txt", "in/inner.tar.gz/y.docx", "z.txt.gz"]
    assert sorted(path.name for path in (tmp_path / "out.members").iterdir()) == sorted(m.file for m in parsed.members)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/x.txt",
        "/abs/x.txt",
        "..\\..\\x.txt",
        "C:\\x.txt",
        "a/../../x.txt",
        "x\x01\x1b[2J.txt",
        "é" * 600 + ".txt",
        "a\u202etxt.x",
    ],
)
def test_a_name_that_climbs_or_tricks_is_only_a_name(tmp_path: Path, name: str) -> None:
    for content in (files.archive({name: b"Words.", "ok.txt": b"Ok."}), tar({name: b"Words.", "ok.txt": b"Ok."})):
        parsed = expand(tmp_path, content)
        assert len(parsed.members) == 2
        shown = parsed.members[0].path
        assert not shown.startswith(("/", ".."))
        assert "/../" not in shown
        assert shown.isprintable()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["blob", "out.members"]


def test_links_and_devices_of_a_tar_are_not_followed(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, target in (
            ("l", tarfile.SYMTYPE, "/etc/passwd"),
            ("h", tarfile.LNKTYPE, "/etc/passwd"),
            ("d", tarfile.CHRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        info = tarfile.TarInfo("a.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"Word."))
    assert held(tmp_path, expand(tmp_path, out.getvalue(), "a.tar")) == {"a.txt": b"Word."}


def refusal(tmp_path: Path, content: bytes, caps: Caps = CAPS, password: str | None = None) -> Refused:
    with pytest.raises(Refused) as refused:
        expand(tmp_path, content, caps=caps, password=password)
    return refused.value


def test_each_cap_of_an_archive_is_its_own_end(tmp_path: Path) -> None:
    many = refusal(tmp_path / "1", files.archive({f"{n}.txt": b"w" for n in range(21)}))
    assert (many.code, str(many)) == ("archive_bomb", "it holds more than 20 files")
    noise = bytes(range(32, 127)) * 9_000
    whole = refusal(tmp_path / "2", files.archive({f"{n}.txt": noise for n in range(8)}))
    assert (whole.code, whole.details) == ("archive_bomb", {"limit_bytes": 4 << 20})
    bomb = refusal(tmp_path / "3", files.archive({"a.txt": b" " * (3 << 20)}))
    assert "looks like a bomb" in str(bomb)
    large = refusal(tmp_path / "4", files.archive({"a.txt": " ".join(map(str, range(200_000)))}))
    assert (large.code, large.details) == ("too_large", {"limit_bytes": 1 << 20})
    nested = files.archive({"x.txt": b"Words."})
    for _ in range(3):
        nested = files.archive({"n.zip": nested})
    deep = refusal(tmp_path / "5", nested)
    assert (deep.code, "within 2 archives" in str(deep)) == ("nested_too_deeply", True)


def test_the_caps_hold_for_all_that_is_nested_together(tmp_path: Path) -> None:
    inner = {f"{n}.zip": files.archive({f"{m}.txt": b"w" for m in range(6)}) for n in range(4)}
    assert refusal(tmp_path, files.archive(dict(inner))).code == "archive_bomb"


def test_one_bad_member_costs_only_itself(tmp_path: Path) -> None:
    content = bytearray(files.archive({"a.txt": b"AAAA words of a.", "b.txt": b"Good words."}))
    at = content.index(b"a.txt") + 6
    content[at : at + 4] = b"\xff\xff\xff\xff"
    parsed = expand(tmp_path, bytes(content))
    assert list(held(tmp_path, parsed)) == ["b.txt"]
    assert [each.code for each in parsed.skipped] == ["damaged"]


def test_a_locked_archive_opens_with_its_password_only(tmp_path: Path) -> None:
    content = locked({"a.txt": b"Secret words."}, b"open sesame")
    assert refusal(tmp_path / "1", content).code == "password_needed"
    assert refusal(tmp_path / "2", content, password="wrong").code == "password_wrong"
    assert held(tmp_path, expand(tmp_path, content, password="open sesame")) == {"a.txt": b"Secret words."}


def test_an_archive_with_nothing_to_read_says_why(tmp_path: Path) -> None:
    assert refusal(tmp_path / "1", files.archive({})).code == "empty"
    assert str(refusal(tmp_path / "2", files.archive({"p.png": PARTS["c.png"]}))).startswith(
        "none of its files can be read; p.png:"
    )


def test_a_zip_whose_sizes_lie_is_stopped_by_what_it_unpacks_to(tmp_path: Path) -> None:
    content = bytearray(files.archive({"a.txt": b" " * (3 << 20)}))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        size = archive.infolist()[0].file_size.to_bytes(4, "little")
    lying = bytes(content).replace(size, (10).to_bytes(4, "little"))
    assert refusal(tmp_path, lying, replace(CAPS, unpacked_bytes_max=1 << 20)).code in ("damaged", "archive_bomb")
