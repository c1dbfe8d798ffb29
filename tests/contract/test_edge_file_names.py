# ruff: noqa: E501
"""File names that climb, trick and inject: as uploads, as downloads, as members of archives. A name is never a path here."""

import io
import re
import tarfile
import unicodedata
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from actors.ingest.archive import expand
from actors.ingest.caps import Caps
from actors.ingest.source import Source
from tests.contract.edge_house import House, house_in

CAPS = Caps(1 << 20, 500, 2_000_000, 2 << 30, 30.0, 60.0, unpacked_bytes_max=64 << 20, entries_max=2_000, nesting_max=2)
CLIMBS = (
    "..",
    "../",
    "..\\",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%2f",
    "..%5c",
    "..%c0%af",
    "..%252f",
    ".../",
    "....//",
    "..;/",
    "．．/",
    "‥/",
    "..\u2215",
    "..\u2044",
    "..／",
    "..＼",
)
TARGETS = (
    "{outside}/climbed",
    "etc/passwd",
    "key",
    "run/ray-token",
    "store/perenne.db",
    "config.yaml",
    "windows\\system32\\x.dll",
)
DEVICES = (
    "CON",
    "PRN",
    "AUX",
    "NUL",
    "COM1",
    "COM9",
    "LPT1",
    "CLOCK$",
    "CONIN$",
    "nul.txt",
    "con.tar.gz",
    "COM¹",
    "aux::$DATA",
)
RAW = (
    "", ".", "..", "...", "/", "\\", "//", "/.", "/..", "-", "--", "-rf", "--help", "-", "~", "~root", "~/x", "*", "?", "|", "|id", ";id", "$(id)",
    "`id`", "&&id", "%00", "a%00.pdf", "a\x00.pdf", "a.pdf\x00.exe", "\x00", "a\nb", "a\rb", "a\r\nSet-Cookie: x=1", "a\r\n\r\n<script>", "a\tb",
    "a\x0bb", "a\x1b[31mb", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "\u202egnp.exe", "a\u202efdp.exe", "\u2066x\u2069", "\u200fx", "a\u200bb",
    "a\u200db", "a\ufeffb", "\u061cx", "a\u00adb", "\ue000", "\ufffe", "\uffff", "\U000e0041", 'a"b', "a'b", 'a";filename="b', "a;b", "a=b", "a,b", "a\\\"b",
    'x"; filename*=UTF-8\'\'evil.exe', "UTF-8''x", "=?UTF-8?Q?x?=", "=?utf-8?b?Li4vLi4v?=", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://127.0.0.1/x", "\\\\server\\share\\x", "//server/share/x", "C:\\x", "C:x", "C:/x",
    "a:b", "a:$DATA", "a::$INDEX_ALLOCATION", "a.", "a ", " a", "a..", ".a", ".htaccess", ".ssh/authorized_keys", ".git/config", "desktop.ini", "Thumbs.db",
    "__MACOSX/x", "a/b", "a\\b", "a/../b", "a/./b", "a//b", "/proc/self/environ", "/dev/null", "/dev/tcp/127.0.0.1/1", "ñ.txt", "n\u0303.txt", "ﬁ.txt", "Å", "A\u030a",
    "\u0301", "文書.txt", "ملف.txt", "😀.txt", "🏳️‍🌈.txt", "a" * 300, "a" * 255 + ".txt", "é" * 300, "😀" * 300, "../" * 200 + "x", "x" * 4000, "{0}", "%s%n", "{{7*7}}",
    "${jndi:ldap://127.0.0.1/x}", "' OR 1=1 --", "'; DROP TABLE documents; --", "nan", "null", "undefined", "None", "true", "0", "1e999", "\ud800".encode("utf-8", "replace").decode(),
    "\u0130.txt", "ı.txt", "ß.txt", "a\u0000/../b", "%0d%0aX: y", "%u002e%u002e/", "\\u002e\\u002e/", "&#46;&#46;/", "a#b", "a?b", "a%b", "a%2fb", "a+b", "a@b", "index.html", "a.html",
)  # fmt: skip


def names(outside: Path) -> list[str]:
    climbs = [
        f"{climb * depth}{target.format(outside=str(outside).lstrip('/'))}"
        for climb in CLIMBS
        for depth in (1, 8)
        for target in TARGETS
    ]
    return list(dict.fromkeys([*climbs, *DEVICES, *RAW, str(outside / "absolute"), f"\\\\?\\{outside}\\x"]))


def harmless(name: str) -> bool:
    """One component, shown as it is, that neither turns the reading direction nor ends a line."""
    return 0 < len(name) <= 255 and not set(name) & set("/\\") and not any(unicodedata.category(c)[0] == "C" for c in name)


def kept(folder: Path) -> set[Path]:
    """All that lies there, but for the database's files."""
    return {path for path in folder.rglob("*") if "store" not in path.parts}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path / "a" / "b" / "home", requests_per_minute=10**9) as house:
        yield house


def _form(name: str, content: bytes) -> tuple[bytes, str]:
    """The name as it is, but for what would end its own quotes or line: httpx would encode it."""
    sent = name.encode("utf-8", "replace").replace(b"\r", b"%0D").replace(b"\n", b"%0A").replace(b'"', b'\\"')
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + sent + b'"\r\n\r\n' + content + b"\r\n--b--\r\n"
    return body, "multipart/form-data; boundary=b"


async def test_a_name_is_never_a_path_and_comes_back_harmless(house: House, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tried = names(outside)
    assert len(tried) >= 200
    before = kept(tmp_path)
    async with house.http() as http:
        for number, name in enumerate(tried):
            body, kind = _form(name, f"document {number}".encode())
            added = await http.post("/api/projects/default/documents", content=body, headers={"Content-Type": kind})
            assert added.status_code in (200, 202, 400, 422), (name, added.text)
            if added.status_code >= 400:
                assert "error" in added.json(), name
                continue
            document = added.json()["document"]
            assert harmless(document["filename"]), (name, document["filename"])
            file = await http.get(f"/api/documents/{document['id']}/file")
            assert file.text == f"document {number}", name
            said = file.headers.get_list("content-disposition")
            assert len(said) == 1
            match = re.fullmatch(r"attachment; filename\*=UTF-8''([A-Za-z0-9._~%-]+)", said[0])
            assert match, (name, said)
            assert harmless(unquote(match[1])), (name, said)
            assert "set-cookie" not in file.headers
            assert file.headers["x-content-type-options"] == "nosniff"
            assert "html" not in file.headers["content-type"]
            assert "sandbox" in file.headers["content-security-policy"]
        for title in RAW[:60]:  # a title is its owner's words: as data it comes back whole, and as data only
            told = await http.post("/api/projects", json={"name": title or "x"})
            assert told.status_code in (201, 409, 422, 400), title
            assert told.headers["content-type"] == "application/json"
    home = tmp_path / "a" / "b" / "home"
    new = kept(tmp_path) - before
    for path in new:
        inside = path.relative_to(home / "blobs").as_posix()
        assert re.fullmatch(r"([a-z]+|[0-9a-f]{2}|([a-z]+/)?([0-9a-f]{2}/)*[0-9a-f]{32,64}|[a-z]+/[0-9a-zA-Z_.]+)", inside), (
            path
        )
    assert not list(outside.iterdir())


def _zip(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in parts.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor cuts at a NUL
            packed.writestr(info, content)
    return out.getvalue()


def _tar(parts: dict[str, bytes], outside: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("link")  # and then a file through it
            info.type, info.linkname = kind, str(outside)
            packed.addfile(info)
        for name, content in {**parts, "link/through": b"through"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_members_name_is_never_a_path(tmp_path: Path, kind: str) -> None:
    """A member without a name made the whole archive fail by an IndexError of zipfile's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    tried = [name for name in names(outside) if len(name.encode("utf-8", "replace")) < 60_000]
    parts = {name: f"words of {number}".encode() for number, name in enumerate(tried)}
    work = tmp_path / "a" / "b"
    work.mkdir(parents=True)
    path = work / "blob"
    path.write_bytes(_zip(parts) if kind == "zip" else _tar(parts, outside))
    parsed = expand(Source(path=path, name=f"x.{kind}", caps=CAPS), kind, work / "out.json")
    assert len(parsed.members) >= 200
    for member in parsed.members:
        components = member.path.split("/")
        assert all(harmless(replaced) for replaced in components if len(replaced) <= 255), member.path
        assert not {"", ".", ".."} & set(components), member.path
        assert re.fullmatch(r"\d{6}", member.file)
    there = {entry.relative_to(tmp_path).as_posix() for entry in tmp_path.rglob("*") if entry.is_file()}
    assert there == {"a/b/blob", *(f"a/b/out.members/{member.file}" for member in parsed.members)}
    assert not list(outside.iterdir())
    assert not [entry for entry in tmp_path.rglob("*") if entry.is_symlink()]


def test_the_guard_sees_a_name_that_is_not_harmless() -> None:
    for name in ("a/b", "a\\b", "", "a\nb", "a\u202eb", "x" * 256):
        assert not harmless(name), name
