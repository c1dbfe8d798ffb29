"""An honest file of every format that is read, made here: what the mutations begin with."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from functools import cache

import orjson

from tests.unit import ingest_files as files
from tests.unit.ingest_compound import outlook

PASSWORD = "open sesame"
_WORDS = "The lighthouse of the cape was built in 1863. El faro del cabo, año a año, alumbró la mar. "
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def _rels(*targets: tuple[str, str]) -> str:
    rows = "".join(f'<Relationship Id="r{n}" Type="{_R}/{kind}" Target="{to}"/>' for n, (kind, to) in enumerate(targets, 1))
    return f'<Relationships xmlns="{_RELS}">{rows}</Relationships>'


def _docx() -> bytes:
    body = files.paragraph("A heading", "H1") + "".join(files.paragraph(f"{n}. {_WORDS}") for n in range(20))
    body += '<w:p><w:r><w:t>noted</w:t><w:footnoteReference w:id="2"/></w:r></w:p>'
    body += "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    note = '<w:footnote w:id="2"><w:p><w:r><w:t>the note</w:t></w:r></w:p></w:footnote>'
    return files.docx(body, styles=files.HEADING_STYLES, footnotes=note)


def _pptx() -> bytes:
    shape = (
        '<p:sp><p:nvSpPr><p:nvPr><p:ph type="{0}"/></p:nvPr></p:nvSpPr>'
        "<p:txBody><a:p><a:r><a:t>{1}</a:t></a:r></a:p></p:txBody></p:sp>"
    )
    shapes = shape.format("title", "Title") + shape.format("body", _WORDS)
    slide = f'<p:sld xmlns:p="{_P}" xmlns:a="{_A}"><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>'
    slides = '<p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst>'
    return files.archive(
        {
            "ppt/presentation.xml": f'<p:presentation xmlns:p="{_P}" xmlns:r="{_R}">{slides}</p:presentation>',
            "ppt/_rels/presentation.xml.rels": _rels(("slide", "slides/slide1.xml")),
            "ppt/slides/slide1.xml": slide,
        }
    )


def _xlsx() -> bytes:
    rows = "".join(
        f'<row r="{n}"><c r="A{n}" t="s"><v>{n % 3}</v></c><c r="B{n}" s="1"><v>{45_000 + n}</v></c></row>'
        for n in range(1, 40)
    )
    return files.archive(
        {
            "xl/workbook.xml": f'<workbook xmlns="{_S}" xmlns:r="{_R}"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _rels(("worksheet", "worksheets/sheet1.xml")),
            "xl/sharedStrings.xml": f'<sst xmlns="{_S}">' + "".join(f"<si><t>text {n}</t></si>" for n in range(3)) + "</sst>",
            "xl/styles.xml": f'<styleSheet xmlns="{_S}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_S}"><sheetData>{rows}</sheetData></worksheet>',
        }
    )


def _odt() -> bytes:
    o, t = "urn:oasis:names:tc:opendocument:xmlns:office:1.0", "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    body = f'<text:h text:outline-level="1">Head</text:h><text:p>{_WORDS}<text:s text:c="3"/>end</text:p>'
    body += "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
    spaces = f'xmlns:office="{o}" xmlns:text="{t}"'
    return files.archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {spaces}><office:body><office:text>{body}</office:text></office:body>"
            "</office:document-content>",
        }
    )


def _epub() -> bytes:
    chapter = f"<html><body><h1>Chapter</h1><p>{_WORDS}</p></body></html>"
    return files.archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="book/c.opf"/></rootfiles></container>',
            "book/c.opf": '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="a"/></spine></package>',
            "book/a.xhtml": chapter,
        }
    )


def _locked_docx() -> bytes:
    from msoffcrypto.format.ooxml import OOXMLFile

    chance = random.Random(1)  # what packs well is short, and the library's own writer breaks short files
    words = "".join(files.paragraph(f"{chance.random()} {_WORDS}") for _ in range(400))
    out = io.BytesIO()
    OOXMLFile(io.BytesIO(files.docx(words))).encrypt(PASSWORD, out)
    return out.getvalue()


def _locked_zip() -> bytes:
    from pyzipper import WZ_AES, AESZipFile

    out = io.BytesIO()
    with AESZipFile(out, "w", encryption=WZ_AES) as archive:
        archive.setpassword(PASSWORD.encode())
        archive.writestr("a.txt", _WORDS)
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("a.txt", _WORDS.encode()), ("d/b.html", b"<h1>B</h1><p>words"), ("c.docx", _docx())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _mbox() -> bytes:
    return b"".join(b"From a@b Mon Jan  1 00:00:00 2024\n" + files.mail(f"Letter {n}", _WORDS) + b"\n" for n in range(4))


def _notebook() -> bytes:
    outputs = [{"output_type": "stream", "text": ["1\n"]}, {"output_type": "error", "ename": "E", "evalue": "v"}]
    cells = [
        {"cell_type": "markdown", "source": [f"# Head\n\n{_WORDS}"]},
        {"cell_type": "code", "source": "x = 1", "outputs": outputs},
    ]
    return orjson.dumps({"cells": cells * 5, "nbformat": 4})


@cache
def originals() -> dict[str, bytes]:
    """Content by file name; the ending is what the format is called by."""
    code = "".join(f"def room_{n}(a, b):\n    return a + b + {n}\n\n\n" for n in range(20))
    inner = files.archive({"x.txt": _WORDS, "y.md": "# Y\n\nwords"})
    return {
        "a.pdf": files.pdf(f"First page of a file.\n{_WORDS}", "Second page.", title="T"),
        "a.docx": _docx(),
        "a.pptx": _pptx(),
        "a.xlsx": _xlsx(),
        "a.odt": _odt(),
        "a.epub": _epub(),
        "a.rtf": rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fcharset0 Arial;}}{\info{\title A\'f1o}}\f0 El ni\'f1o\par "
        rb"\trowd a\cell b\cell\row{\pict\bin4 \x00{}}\u8364? }",
        "a.html": b"<html><head><title>T</title></head><body><h1>H</h1>"
        + f"<p>{_WORDS}</p>".encode() * 20
        + b"<table><tr><td>c</table></body></html>",
        "a.eml": files.mail("A subject", _WORDS),
        "a.msg": outlook("A subject", _WORDS * 60, attached="plan.pdf"),
        "a.mbox": _mbox(),
        "a.csv": ("name,city,age\n" + "".join(f'"Señor, {n}",Málaga,{n}\n' for n in range(60))).encode(),
        "a.tsv": ("name\tcity\n" + "".join(f"Ana {n}\tMálaga\n" for n in range(60))).encode("cp1252"),
        "a.md": f"---\ntitle: F\n---\n# One\n\n{_WORDS}\n\n- a\n- b\n\n```\nx\n```\n\n|h|i|\n|-|-|\n|1|2|\n".encode(),
        "a.ipynb": _notebook(),
        "a.py": code.encode(),
        "a.jsonl": b"".join(orjson.dumps({"id": n, "title": f"T{n}", "text": _WORDS}) + b"\n" for n in range(20)),
        "a.txt": (_WORDS * 20).encode("utf-16"),
        "a.zip": files.archive({"a/b.txt": _WORDS, "c.docx": _docx(), "in.zip": inner}),
        "a.tar": _tar(),
        "a.tar.gz": gzip.compress(_tar(), mtime=0),
        "a.txt.bz2": bz2.compress(_WORDS.encode() * 50),
        "a.tar.xz": lzma.compress(_tar()),
        "locked.docx": _locked_docx(),
        "locked.zip": _locked_zip(),
    }
