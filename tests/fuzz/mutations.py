"""Ways to break a file, each drawn from a seed: the same seed gives the same bytes."""

import bz2
import gzip
import io
import lzma
import random
import re
import zipfile
from collections.abc import Callable
from functools import partial

Mutation = Callable[[bytes, random.Random, str], bytes]

_EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_NUMBERS = re.compile(rb"\d{1,10}")
_HUGE = (b"0", b"-1", b"65536", b"2147483648", b"4294967296", b"99999999999999999999", b"1e308", b"0.0000001")
_OPENERS = {
    "pdf": (b"<<", b"[", b"(", b"q "),
    "rtf": (b"{", b"{\\b ", b"{\\field{\\*\\fldinst{HYPERLINK "),
    "md": (b">", b"- ", b"[", b"*", b"`"),
    "ipynb": (b"[", b'{"a":'),
    "jsonl": (b"[", b'{"a":'),
    "csv": (b'"', b'""', b","),
    "eml": (b"Content-Type: multipart/mixed; boundary=x\n\n--x\n", b"(", b"=?utf-8?q?", b"Received: a\n"),
    "mbox": (b"From a\nFrom: a\nTo: b\n\n", b"Content-Type: message/rfc822\n\n"),
    "py": (b"(", b"def f(\n", b"\n"),
}
_TAGS = (b"<div>", b"<a>", b"<table><tr><td>", b"<w:p>", b"<text:list>", b"<!--", b"<![CDATA[", b"<p ", b"&amp;", b"&lol;")


def flip(content: bytes, chance: random.Random, name: str) -> bytes:
    broken = bytearray(content)
    for _ in range(chance.randint(1, 24)):
        broken[chance.randrange(len(broken))] = chance.randrange(256)
    return bytes(broken)


def truncate(content: bytes, chance: random.Random, name: str) -> bytes:
    return content[: chance.randrange(1, len(content))]


def cut(content: bytes, chance: random.Random, name: str) -> bytes:
    at = chance.randrange(len(content))
    return (content[:at] + content[at + chance.randint(1, 400) :]) or b"x"


def repeat(content: bytes, chance: random.Random, name: str) -> bytes:
    """A stretch many times over, as where a parser's work grows with more than the size."""
    at = chance.randrange(len(content))
    piece = content[at : at + chance.randint(1, 2_000)]
    return content[:at] + piece * chance.choice((2, 10, 100, 1_000)) + content[at:]


def splice(content: bytes, chance: random.Random, name: str) -> bytes:
    """The head of one file and a stretch of another format's."""
    from tests.fuzz.originals import originals

    other = originals()[chance.choice(sorted(originals()))]
    at, begin = chance.randrange(len(content)), chance.randrange(len(other))
    return content[:at] + other[begin : begin + chance.randint(1, 4_000)] + content[at:]


def lie(content: bytes, chance: random.Random, name: str) -> bytes:
    """A size, a count or a place that says something else: binary, or in digits."""
    broken = bytearray(content)
    digits = list(_NUMBERS.finditer(content))
    for _ in range(chance.randint(1, 4)):
        if digits and chance.random() < 0.5:
            found = chance.choice(digits)
            return content[: found.start()] + chance.choice(_HUGE) + content[found.end() :]
        width = chance.choice((1, 2, 4, 8))
        at = chance.randrange(max(1, len(broken) - width))
        value = chance.choice(_EXTREMES) & ((1 << 8 * width) - 1)
        broken[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))
    return bytes(broken)


def nest(content: bytes, chance: random.Random, name: str) -> bytes:
    """What opens something, very often."""
    openers = _OPENERS.get(name.rpartition(".")[2], ()) + _TAGS
    at = chance.randrange(len(content))
    return content[:at] + chance.choice(openers) * chance.choice((50, 1_000, 20_000, 100_000)) + content[at:]


def entities(content: bytes, chance: random.Random, name: str) -> bytes:
    """XML that grows, or that asks for another file or an address."""
    laughs = b'<!ENTITY a "lol">' + b"".join(
        b'<!ENTITY %c "%b">' % (ord("b") + n, b"&%c;" % (ord("a") + n) * 10) for n in range(9)
    )
    wanted = chance.choice((b"file:///etc/passwd", b"http://127.0.0.1:1/x", b"file:///dev/zero", b"php://x"))
    outside = b'<!ENTITY j SYSTEM "%b">' % wanted
    parameter = b'<!ENTITY %% p SYSTEM "%b">%%p;<!ENTITY j "x">' % wanted
    doctype = b"<!DOCTYPE x [" + chance.choice((laughs, outside, parameter)) + b"]>"
    body = re.sub(rb"^\s*<\?xml[^>]*\?>", b"", content)
    at = body.find(b">", chance.randrange(max(1, len(body)))) + 1
    return doctype + body[:at] + b"&j;" * chance.choice((1, 100)) + body[at:]


PLAIN: tuple[Mutation, ...] = (flip, truncate, cut, repeat, splice, lie, nest)


def _repacked(parts: dict[str, bytes], names: list[str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.writestr(zipfile.ZipInfo(name), parts[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()


def within_zip(content: bytes, chance: random.Random, name: str) -> bytes:
    """One member broken and the archive whole, so that its parser is reached."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    names = list(parts)
    chosen = chance.choice(names)
    breaks: tuple[Mutation, ...] = (*PLAIN, entities, entities) if parts[chosen].startswith(b"<") else PLAIN
    parts[chosen] = chance.choice(breaks)(parts[chosen], chance, chosen)
    return _repacked(parts, names)


def names_of_zip(content: bytes, chance: random.Random, name: str) -> bytes:
    """Members that are missing, doubled, called otherwise, or that climb."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    names = list(parts)
    odd = chance.choice(("../../../tmp/x.txt", "/etc/x.txt", "C:\\x.txt", "a\x00b.txt", "x" * 60_000, "\u202etxt.exe", "."))
    match chance.randrange(4):
        case 0:
            names.remove(chance.choice(names))
        case 1:
            names += [chance.choice(names)] * chance.choice((1, 50))
        case 2:
            chosen = chance.choice(names)
            parts[odd] = parts[chosen]
            names[names.index(chosen)] = odd
        case _:
            parts |= {f"f{n}.txt": b"w" for n in range(chance.choice((100, 3_000)))}
            names = list(parts)
    return _repacked(parts, names)


def bomb_of_zip(content: bytes, chance: random.Random, name: str) -> bytes:
    """Little that unpacks to much: one member, or archives in archives."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    names = list(parts)
    chosen = chance.choice(names)
    if chance.random() < 0.5:
        parts[chosen] = parts[chosen] + chance.choice((b" ", b"<a>", b"\x00", b"x\n")) * (chance.choice((1, 8, 24)) << 20)
        return _repacked(parts, names)
    inner = _repacked({f"{n}.txt": b" " * (1 << 20) for n in range(10)}, [f"{n}.txt" for n in range(10)])
    for _ in range(chance.randint(1, 6)):
        inner = _repacked({f"{n}.zip": inner for n in range(10)}, [f"{n}.zip" for n in range(10)])
    parts["deep.zip"] = inner
    return _repacked(parts, [*names, "deep.zip"])


_ZIPS: tuple[Mutation, ...] = (within_zip, within_zip, within_zip, names_of_zip, bomb_of_zip)


_PACKERS: dict[bytes, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": (gzip.decompress, partial(gzip.compress, mtime=0)),
    b"BZh": (bz2.decompress, bz2.compress),
    b"\xfd7z": (lzma.decompress, lzma.compress),
}


def within_stream(content: bytes, chance: random.Random, name: str) -> bytes:
    """What is packed broken, or grown, and packed again."""
    unpack, pack = next(pair for magic, pair in _PACKERS.items() if content.startswith(magic))
    plain = unpack(content)
    if chance.random() < 0.15:
        return pack(plain + b" " * (chance.choice((1, 40, 80)) << 20))
    return pack(chance.choice(PLAIN)(plain, chance, name))


def mutated(content: bytes, name: str, seed: int) -> tuple[bytes, str]:
    """-> the broken file, and what was done to it; now and then two things."""
    chance = random.Random(f"{name} {seed}")
    ways: tuple[Mutation, ...] = PLAIN
    if content.startswith(b"PK") and not name.startswith("locked"):
        ways = (*PLAIN, *_ZIPS, *_ZIPS)
    elif content.startswith(tuple(_PACKERS)):
        ways = (*PLAIN, *[within_stream] * len(PLAIN))
    elif content.lstrip().startswith(b"<"):
        ways = (*PLAIN, entities)
    way = chance.choice(ways)
    broken, done = way(content, chance, name), way.__name__
    if chance.random() < 0.2 and broken:
        second = chance.choice(PLAIN[:-1])
        broken, done = second(broken, chance, name), f"{done}+{second.__name__}"
    return broken or b"x", done
