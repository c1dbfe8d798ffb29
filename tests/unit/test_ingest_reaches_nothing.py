# ruff: noqa: E501
"""Nothing is fetched for a document's sake: files of every format, full of references to elsewhere, are read in a process that the
kernel kills at its first attempt to open a socket of any kind. Without a socket there is no name to resolve (rebinding), no
redirect to follow, no address to reach, however it is spelled."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import ingest_files as files

ROOT = Path(__file__).resolve().parents[2]
PORT = 47113
ADDRESSES = (
    # this machine, in every spelling that some resolver takes
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://[::1]:{port}/", "http://0.0.0.0:{port}/",
    "http://[::]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::127.0.0.1]:{port}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/",
    "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://0x7f.0x0.0x0.0x1:{port}/", "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://127.0.1:{port}/", "http://0:{port}/", "http://127.255.255.254:{port}/",
    "http://１２７.０.０.１:{port}/", "http://①②⑦.0.0.1:{port}/", "http://localhost.:{port}/", "http://127.0.0.1.:{port}/",
    "http://x.localhost:{port}/", "http://127.0.0.1%00.example.org:{port}/", "http://example.org@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.org/", "http://example.org\\@127.0.0.1:{port}/", "http://127.0.0.1%09:{port}/",
    "http:127.0.0.1:{port}/", "http:///127.0.0.1:{port}/", "//127.0.0.1:{port}/", "\\\\127.0.0.1@{port}\\share\\x", "HTTP://127.0.0.1:{port}",
    # names that point there, redirect there, or change their mind
    "http://127.0.0.1.nip.io:{port}/", "http://localtest.me:{port}/", "http://rebind.example:{port}/", "http://make-127-0-0-1-rr.1u.ms/",
    "http://redirect.example/?to=http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/redirect/302/http://169.254.169.254/",
    # machines of the cloud and the home
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/", "http://[::ffff:169.254.169.254]/", "http://2852039166/",
    "http://metadata.google.internal/", "http://100.100.100.200/", "http://192.168.1.1/", "http://10.0.0.1/", "http://172.16.0.1/",
    "http://[fe80::1%25lo]/", "http://[fc00::1]/", "http://224.0.0.1/", "http://255.255.255.255/", "http://router.lan/",
    # other ways
    "https://127.0.0.1:{port}/", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_x", "ws://127.0.0.1:{port}/", "smb://127.0.0.1/x",
    "ldap://127.0.0.1:{port}/", "dict://127.0.0.1:{port}/x", "tftp://127.0.0.1/x", "jar:http://127.0.0.1:{port}!/x", "netdoc:///etc/hostname",
    "php://filter/resource=http://127.0.0.1:{port}/", "data:text/html,<img src=http://127.0.0.1:{port}/>", "file://127.0.0.1/etc/hostname",
    "\\\\127.0.0.1\\share\\x", "http://example.org/",
)  # fmt: skip
WORD = "lighthouse"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_READ = """
import sys
from pathlib import Path
from actors.ingest import reading
from actors.ingest.caps import Caps
from actors.ingest.no_sockets import KILL, no_sockets
from actors.ingest.parsed import Refused
from actors.ingest.source import Source
reading.load_formats()
caps = Caps(8 << 20, 500, 5_000_000, 4 << 30, 60.0, 600.0)
assert no_sockets(KILL)
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        text = reading.read(Source(path=path, name=path.name, caps=caps), Path(sys.argv[2], path.name)).text
    except Refused as refusal:
        text = f"REFUSED {refusal.code}"
    print(path.name, repr(text), flush=True)
"""


def addresses(folder: Path) -> list[str]:
    return [address.replace("{port}", str(PORT)) for address in ADDRESSES] + [
        f"file://{folder}/secret.txt",
        f"{folder}/secret.txt",
    ]


def attribute(address: str) -> str:
    return address.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def relations(of: list[str]) -> str:
    kinds = ("image", "attachedTemplate", "hyperlink", "oleObject", "frame", "externalLink", "subDocument")
    rows = "".join(
        f'<Relationship Id="r{n}" Type="{_R}/{kinds[n % len(kinds)]}" Target="{attribute(a)}" TargetMode="External"/>'
        for n, a in enumerate(of)
    )
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{rows}</Relationships>'


def outside(of: list[str], root: str) -> str:
    """A document type whose parts are elsewhere: outer subset, entities, parameter entities."""
    entities = "".join(f'<!ENTITY e{n} SYSTEM "{attribute(a)}">' for n, a in enumerate(of))
    parameters = "".join(f'<!ENTITY % p{n} SYSTEM "{attribute(a)}"> %p{n};' for n, a in enumerate(of))
    return f'<?xml version="1.0"?><!DOCTYPE {root} SYSTEM "{attribute(of[0])}" [{entities}{parameters}]>'


def calls(of: list[str]) -> str:
    return "".join(f"&e{n};" for n in range(len(of)))


def documents(of: list[str]) -> dict[str, bytes]:
    """Files that are read for what they say, and refer to all of these addresses in each way that their format has."""
    tags = "".join(
        f'<img src="{u}" srcset="{u} 2x"><link rel="stylesheet" href="{u}"><script src="{u}"></script><iframe src="{u}"></iframe>'
        f'<object data="{u}"></object><embed src="{u}"><video src="{u}" poster="{u}"></video><audio src="{u}"></audio><a href="{u}" ping="{u}">x</a>'
        f'<svg><image href="{u}" xlink:href="{u}"/><use href="{u}#x"/></svg><style>@import url("{u}"); p{{background:url("{u}")}}</style>'
        f'<meta http-equiv="refresh" content="0;url={u}"><base href="{u}"><form action="{u}"></form><body background="{u}">'
        for u in map(attribute, of)
    )
    page = f"<!doctype html><html><head><title>t</title></head><body><p>The {WORD}.</p>{tags}</body></html>"
    xhtml = (
        f'{outside(of, "html")}<html xmlns="http://www.w3.org/1999/xhtml" xmlns:xi="http://www.w3.org/2001/XInclude"><body><p>{WORD} {calls(of)}</p>'
        + "".join(f'<xi:include parse="text" href="{attribute(u)}"/>' for u in of)
        + "</body></html>"
    )
    body = "".join(f'<w:p><w:r><w:t>{WORD}</w:t></w:r><w:hyperlink xmlns:r="{_R}" r:id="r{n}"/></w:p>' for n in range(len(of)))
    plain = files.docx(body)
    rels = relations(of)
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    o, t = "urn:oasis:names:tc:opendocument:xmlns:office:1.0", "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    odt = f'<office:document-content xmlns:office="{o}" xmlns:text="{t}" xmlns:xlink="http://www.w3.org/1999/xlink"><office:body><office:text>'
    odt += "".join(
        f'<text:p>{WORD}<text:a xlink:href="{attribute(u)}">x</text:a></text:p><text:section xlink:href="{attribute(u)}"/>'
        for u in of
    )
    odt += "</office:text></office:body></office:document-content>"
    mail = f"From: a@example.org\nSubject: s\nMIME-Version: 1.0\nContent-Type: text/html\n\n{page}"
    elsewhere = "".join(
        f'--b\nContent-Type: message/external-body; access-type=URL; URL="{u}"\n\nContent-Type: text/plain\n\n'
        for u in of
        if u.isascii()
    )
    code = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"{WORD} ![x]({u})" for u in of]},
        {"cell_type": "code", "metadata": {}, "source": "x", "execution_count": 1, "outputs": [
            {"output_type": "display_data", "metadata": {}, "data": {"text/html": [page]}}]},
    ]  # fmt: skip
    ns = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    cells = "".join(f'<row r="{n + 1}"><c r="A{n + 1}" t="inlineStr"><f>WEBSERVICE("{attribute(u)}")</f><is><t>{WORD}</t></is></c></row>' for n, u in enumerate(of))  # fmt: skip
    sheet_rel = f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="{_R}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
    return {
        "page.html": page.encode(), "page.xhtml": xhtml.encode(), "picture.svg": (outside(of, "svg") + f"<svg>{WORD} {calls(of)}</svg>").encode(),
        "data.xml": (outside(of, "x") + f"<x>{WORD} {calls(of)}</x>").encode(),
        "links.docx": files.archive({**_parts(plain), "word/_rels/document.xml.rels": rels, "word/_rels/settings.xml.rels": rels}),
        "entities.docx": files.archive({**_parts(plain), "word/document.xml": f"{outside(of, 'w:document')}<w:document {w}><w:body><w:p><w:r><w:t>{WORD} {calls(of)}</w:t></w:r></w:p></w:body></w:document>"}),
        "links.odt": files.archive({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": odt}),
        "entities.odt": files.archive({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": outside(of, "office:document-content") + odt.replace(WORD, WORD + calls(of), 1)}),
        "book.xlsx": files.archive({"xl/workbook.xml": f'<workbook xmlns="{ns}" xmlns:r="{_R}"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>', "xl/_rels/workbook.xml.rels": sheet_rel, "xl/worksheets/_rels/sheet1.xml.rels": rels, "xl/externalLinks/_rels/externalLink1.xml.rels": rels, "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{ns}"><sheetData>{cells}</sheetData></worksheet>'}),
        "field.rtf": ("{\\rtf1 " + WORD + "".join(f'{{\\field{{\\*\\fldinst INCLUDEPICTURE "{u}"}}{{\\fldrslt x}}}}' for u in of if u.isascii()).replace("\\\\127", "127") + "}").encode(),
        "page.eml": mail.encode(), "elsewhere.eml": f"From: a@example.org\nSubject: {WORD}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{elsewhere}--b--\n".encode(),
        "notes.md": (f"# {WORD}\n" + "".join(f"![x]({u}) <img src='{u}'>\n\n[x]: {u}\n" for u in of)).encode(),
        "book.ipynb": json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": code}).encode(),
        "table.csv": ("word,address\n" + "".join(f'{WORD},"=WEBSERVICE(""{u}"")"\n' for u in of)).encode(),
        "actions.pdf": _pdf(of),
    }  # fmt: skip


def _parts(packed: bytes) -> dict[str, str | bytes]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(packed)) as held:
        return {name: held.read(name) for name in held.namelist()}


def _pdf(of: list[str]) -> bytes:
    """A page whose opening fetches, goes elsewhere, launches and reads, and whose content is in a file of another place."""
    said = [u.encode("utf-8").hex().encode() for u in of]
    acts = b"".join(
        b"<< /S /URI /URI <%s> >> << /S /GoToR /F << /FS /URL /F <%s> >> /D [0 /Fit] >> << /S /Launch /F <%s> >> << /S /SubmitForm /F << /FS /URL /F <%s> >> >> "
        b"<< /S /ImportData /F <%s> >> << /S /JavaScript /JS (app.launchURL\\('x'\\)) >> " % (u, u, u, u, u)
        for u in said
    )
    whole = files.pdf(f"The {WORD}.")
    stream = b"/Contents 5 0 R"
    assert stream in whole
    links = b"".join(b"<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI <%s> >> >> " % u for u in said)
    return whole.replace(stream, stream + b" /AA << /O [" + acts + b"] >> /Annots [" + links + b"]", 1)


def read_all(folder: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    out = folder.parent / "out"
    out.mkdir(exist_ok=True)
    code = _READ.replace("for path in", f"{before}\nfor path in", 1)
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), str(out)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


needs_seccomp = pytest.mark.skipif(
    subprocess.run(
        [sys.executable, "-c", "import sys; from actors.ingest.no_sockets import no_sockets; sys.exit(not no_sockets())"],
        cwd=ROOT, check=False,
    ).returncode != 0,
    reason="this kernel takes no seccomp filter",
)  # fmt: skip


@needs_seccomp
def test_no_document_makes_its_reader_open_a_socket_or_read_another_file(tmp_path: Path) -> None:
    assert len(set(ADDRESSES)) >= 60
    (tmp_path / "secret.txt").write_text("xyzzy-of-this-machine")
    folder = tmp_path / "in"
    folder.mkdir()
    made = documents(addresses(tmp_path))
    for name, content in made.items():
        (folder / name).write_bytes(content)
    done = read_all(folder)
    assert done.returncode == 0, (done.returncode, done.stdout[-300:], done.stderr[-2000:])
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert told.keys() == made.keys()
    assert "xyzzy-of-this-machine" not in done.stdout
    read = {name for name, text in told.items() if WORD in text}
    assert read >= {"page.html", "links.docx", "links.odt", "book.xlsx", "field.rtf", "page.eml", "notes.md", "book.ipynb", "table.csv", "actions.pdf"}, told  # fmt: skip


@needs_seccomp
@pytest.mark.parametrize(
    "attempt",
    ["import socket; socket.create_connection(('127.0.0.1', 9))", "import socket; socket.getaddrinfo('rebind.example', 80)",
     "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')", "import socket; socket.socket(socket.AF_UNIX)"],
)  # fmt: skip
def test_the_guard_sees_an_attempt(tmp_path: Path, attempt: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert read_all(folder, before=attempt).returncode == -signal.SIGSYS


@needs_seccomp
def test_what_parses_in_earnest_is_refused_every_socket() -> None:
    """`leave_network` is refused to ordinary users by some kernels, and parsers then had the network."""
    code = """
import io, os, sys
sys.argv = ["child", str(os.getppid())]
from actors.ingest import caps, child
caps.leave_network = lambda: None
sys.stdin = io.TextIOWrapper(io.BytesIO(b""))
child.main()
import socket
try:
    socket.socket()
except PermissionError:
    os.write(2, b"REFUSED")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.stderr.endswith("REFUSED"), done.stderr
