"""Every format: what is read of it, in which order, under which headings, on which page."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from actors.ingest.caps import Caps
from actors.ingest.formats.text import decode
from actors.ingest.parsed import Parsed, Refused
from actors.ingest.reading import read
from actors.ingest.source import Source
from tests.unit import ingest_files as files
from tests.unit.ingest_compound import compound

CAPS = Caps(64 << 20, 500, 2_000_000, 2 << 30, 30.0, 60.0)


def parse(tmp_path: Path, content: bytes, name: str, **more: object) -> Parsed:
    path = tmp_path / "blob"
    path.write_bytes(content)
    return read(Source(path=path, name=name, caps=more.pop("caps", CAPS), **more), tmp_path / "out")  # type: ignore[arg-type]


def paths(parsed: Parsed) -> dict[str, tuple[str, ...]]:
    return {parsed.text[b.start : b.end]: b.path for b in parsed.blocks}


def test_a_pdf_gives_its_pages_and_joins_broken_lines(tmp_path: Path) -> None:
    wide = "This line of the first paragraph is long enough to be a full one, and then it\ngoes on here and ends."
    parsed = parse(tmp_path, files.pdf(wide, "On the second page stands año."), "a.pdf")
    assert parsed.pages == 2
    assert "and then it goes on here" in parsed.text
    assert [b.page for b in parsed.blocks] == [1, 2]
    assert "año" in parsed.text


def test_a_sentence_goes_on_over_a_page_break(tmp_path: Path) -> None:
    parsed = parse(tmp_path, files.pdf("The sentence begins on page one and", "ends on page two. Another one."), "a.pdf")
    assert parsed.blocks[1].continues
    assert parsed.blocks[1].page == 2


def test_running_heads_and_page_numbers_are_taken_off(tmp_path: Path) -> None:
    pages = [f"Annual report\nThe text of page {n} is a sentence.\nA second sentence stands here.\n{n}" for n in range(1, 7)]
    parsed = parse(tmp_path, files.pdf(*pages), "a.pdf")
    assert "Annual report" not in parsed.text
    assert "The text of page 5" in parsed.text


def test_a_docx_gives_headings_tables_notes_and_comments_in_place(tmp_path: Path) -> None:
    body = (
        files.paragraph("Title", "H1")
        + files.paragraph("Part", "Mine")
        + '<w:p><w:r><w:t>Body</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r></w:p>'
        + "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
        + "<w:p><w:del><w:r><w:t>gone</w:t></w:r></w:del><w:ins><w:r><w:t>kept</w:t></w:r></w:ins></w:p>"
    )
    parsed = parse(
        tmp_path,
        files.docx(
            body,
            styles=files.HEADING_STYLES,
            footnotes='<w:footnote w:id="2"><w:p><w:r><w:t>the note</w:t></w:r></w:p></w:footnote>',
            comments='<w:comment w:id="0" w:author="Eva"><w:p><w:r><w:t>why?</w:t></w:r></w:p></w:comment>',
        ),
        "a.docx",
    )
    assert parsed.text == "Title\n\nPart\n\nBody\n\nNote: the note\n\nComment (Eva): why?\n\na | b\n\nkept"
    assert paths(parsed)["Body"] == ("Title", "Part")


def test_a_docx_never_reads_another_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden words")
    parsed = parse(tmp_path, files.external_entity(str(secret)), "a.docx")
    assert "hidden words" not in parsed.text
    assert "Before" in parsed.text


def test_html_keeps_headings_and_drops_furniture(tmp_path: Path) -> None:
    page = """<!doctype html><html><head><title>T</title><style>x{}</style></head><body><nav>Home About</nav>
    <div class="cookie-banner">Accept</div><main><h1>Uno</h1><p>First <b>bold</b> words.</p><h2>Dos</h2><ul><li>x<li>y</ul>
    <table><tr><th>k<th>v<tr><td>1<td>2</table><pre>a
      b</pre></main><script>alert(1)</script><footer>Imprint</footer></body></html>"""
    parsed = parse(tmp_path, page.encode(), "a.html")
    assert parsed.text == "Uno\n\nFirst bold words.\n\nDos\n\n- x\n- y\n\nk | v\n1 | 2\n\na\n      b"
    assert parsed.title == "T"
    assert paths(parsed)["- x\n- y"] == ("Uno", "Dos")


def test_html_is_decoded_as_it_declares(tmp_path: Path) -> None:
    page = '<html><head><meta charset="windows-1251"></head><body><p>Привет, мир</p></body></html>'.encode("cp1251")
    assert "Привет, мир" in parse(tmp_path, page, "a.html").text


def test_markdown_gives_words_without_marks(tmp_path: Path) -> None:
    text = (
        "---\ntitle: Front\n---\n"
        + "# One\n\nSome *bold* [link](http://x) and `code`.\n\n"
        + "## Two\n\n- a\n- b\n\n```\nx = 1\n```\n\n|h|i|\n|-|-|\n|1|2|\n"
    )
    parsed = parse(tmp_path, text.encode(), "a.md")
    assert parsed.text == "One\n\nSome bold link and code.\n\nTwo\n\n- a\n- b\n\nx = 1\n\nh | i\n1 | 2"
    assert parsed.title == "Front"
    assert paths(parsed)["x = 1"] == ("One", "Two")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    words = "El niño comió piñones en la montaña – “sí”, dijo la señora, y costaron 5 €. Después se marchó.\n" * 3
    assert parse(tmp_path, words.encode(encoding), "a.txt").text.split() == words.split()


def test_a_few_broken_bytes_do_not_turn_utf8_into_something_else() -> None:
    text = ("Año nuevo, señal única. " * 40).encode() + b"\xff\xfe tail"
    assert decode(text).startswith("Año nuevo")


def test_a_gzipped_text_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"Plain words. " * 1000)
    assert parse(tmp_path, packed, "a.txt.gz").text.startswith("Plain words.")
    with pytest.raises(Refused, match="damaged gzip"):
        parse(tmp_path, packed[:-20], "a.txt.gz")


def test_json_lines_as_a_document_are_sections(tmp_path: Path) -> None:
    parsed = parse(tmp_path, b'{"id":1,"title":"T1","text":"One."}\nbroken\n{"id":2,"text":"Two."}\n', "a.jsonl")
    assert paths(parsed) == {"T1": ("T1",), "One.": ("T1",), "2": ("2",), "Two.": ("2",)}


def test_mail_gives_heads_and_the_plain_text_once(tmp_path: Path) -> None:
    parsed = parse(tmp_path, files.mail("Saludos años", "Nos vemos mañana."), "a.eml")
    assert "Subject: Saludos años" in parsed.text
    assert parsed.text.count("Nos vemos mañana.") == 1
    assert "Attachment: plan.bin" in parsed.text


def test_a_workbook_shows_dates_as_dates(tmp_path: Path) -> None:
    n = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    r = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    row = '<row><c t="s"><v>0</v></c><c s="1"><v>45292</v></c><c><v>1.50</v></c></row>'
    link = f'<Relationship Id="r1" Type="{r}/worksheet" Target="worksheets/s.xml"/>'
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook {n} xmlns:r="{r}"><sheets><sheet name="Ventas" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships>{link}</Relationships>",
        "xl/styles.xml": f'<styleSheet {n}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        "xl/sharedStrings.xml": f"<sst {n}><si><t>día</t></si></sst>",
        "xl/worksheets/s.xml": f"<worksheet {n}><sheetData>{row}</sheetData></worksheet>",
    }
    parsed = parse(tmp_path, files.archive(parts), "a.xlsx")
    assert parsed.text == "Ventas\n\ndía | 2024-01-01 | 1.5"


@pytest.mark.parametrize(
    ("content", "name", "reason", "code"),
    [
        (b"", "a.txt", "empty", "empty"),
        (b"  \n ", "a.txt", "empty", "empty"),
        (b"\x89PNG\r\n\x1a\n....", "a.pdf", "PNG image is not supported yet; supported are PDF", "unsupported"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.doc", "before 2007", "unsupported"),
        (compound({"EncryptedPackage": bytes(600)}), "a.xlsx", "needs a password", "password_needed"),
        (compound({"WordDocument": bytes(600)}), "a", "before 2007", "unsupported"),
        (compound({"Something": bytes(600)}), "a.msg", "another program", "unsupported"),
        (compound({}), "a.msg", "damaged Office file", "damaged"),
        (bytes(range(256)) * 40, "a.txt", "no kind known", "unsupported"),
        (b"%PDF-1.4 and nothing else", "a.pdf", "damaged", "damaged"),
        (b"PK\x03\x04 nothing", "a.docx", "damaged archive", "damaged"),
        (files.archive({"x.png": b"\x89PNG\r\n\x1a\n...."}), "a.zip", "x.png: a PNG image is not", "unsupported"),
        (files.archive({"word/document.xml": "<a><b></a>"}), "a.docx", "not well-formed", "damaged"),
        (gzip.compress(gzip.compress(b"x")), "a.gz", "gzip file within", "unsupported"),
        (b"<html><body><script>x</script></body></html>", "a.html", "no text", "empty"),
    ],
    ids=lambda value: (
        "bytes" if isinstance(value, bytes) else value
    ),  # packed bytes hold the time: two processes would disagree
)
def test_what_cannot_be_read_is_refused_with_a_sentence_and_a_code(
    tmp_path: Path, content: bytes, name: str, reason: str, code: str
) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        parse(tmp_path, content, name)
    assert refused.value.code == code


def test_content_decides_before_the_name(tmp_path: Path) -> None:
    assert parse(tmp_path, files.pdf("Words of a page."), "a.txt").media_type == "application/pdf"
    assert parse(tmp_path, b"Just words.", "a.docx").media_type == "text/plain"


def test_caps_on_pages_text_and_size_are_named(tmp_path: Path) -> None:
    small = Caps(2_000, 2, 50, 2 << 30, 30.0, 60.0)

    def why(content: bytes, name: str, words: str) -> tuple[str, dict[str, Any]]:
        with pytest.raises(Refused, match=words) as refused:
            parse(tmp_path, content, name, caps=small)
        return refused.value.code, refused.value.details

    pages = why(files.pdf("a", "b", "c"), "a.pdf", "3 pages; the limit is 2")
    assert pages == ("too_many_pages", {"count": 3, "limit": 2})
    text = why(b"word " * 40, "a.txt", "over the limit of 50 characters")
    assert text == ("too_much_text", {"limit_chars": 50})
    assert why(b"word " * 4000, "a.txt", "the limit is 2,000") == ("too_large", {"limit_bytes": 2_000})
    with pytest.raises(Refused, match="unpacks to more"):
        parse(tmp_path, gzip.compress(b"word " * 4000), "a.gz", caps=small)


def test_a_page_nested_deeply_is_read_and_one_too_deep_says_so(tmp_path: Path) -> None:
    assert "core" in parse(tmp_path, b"<div>" * 1_500 + b"core" + b"</div>" * 1_500, "a.html").text
    with pytest.raises(Refused, match="nested too deeply"):
        parse(tmp_path, b"<p>before</p>" + b"<div>" * 50_000 + b"core" + b"</div>" * 50_000, "a.html")


def test_a_locked_pdf_needs_its_password(tmp_path: Path) -> None:
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(BytesIO(files.pdf("Locked words."))))
    writer.encrypt("tika", algorithm="RC4-128")
    locked = BytesIO()
    writer.write(locked)
    with pytest.raises(Refused, match="needs a password: retry") as needed:
        parse(tmp_path, locked.getvalue(), "a.pdf")
    with pytest.raises(Refused, match="does not open it") as wrong:
        parse(tmp_path, locked.getvalue(), "a.pdf", password="wrong")
    assert (needed.value.code, wrong.value.code) == ("password_needed", "password_wrong")
    assert parse(tmp_path, locked.getvalue(), "a.pdf", password="tika").text == "Locked words."
