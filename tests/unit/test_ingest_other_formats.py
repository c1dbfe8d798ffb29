"""RTF, tables as text, notebooks, source code, mailboxes, Outlook's messages, and files under a password."""

import io
import mailbox
from email.message import EmailMessage
from pathlib import Path

import orjson
import pytest

from actors.ingest.caps import Caps
from actors.ingest.formats.source_code import pieces
from actors.ingest.parsed import Parsed, Refused, squeeze
from actors.ingest.reading import read
from actors.ingest.source import Source
from actors.ingest.splitter import Span, split
from tests.unit import ingest_files as files
from tests.unit.ingest_compound import compound, outlook, outlook_tree

CAPS = Caps(64 << 20, 500, 2_000_000, 2 << 30, 30.0, 60.0, chunk_chars=300, entries_max=50)


def parse(tmp_path: Path, content: bytes, name: str, password: str | None = None) -> Parsed:
    path = tmp_path / "blob"
    path.write_bytes(content)
    return read(Source(path=path, name=name, caps=CAPS, password=password), tmp_path / "out")


def passages(parsed: Parsed) -> list[tuple[Span, str]]:
    spans = split(parsed.text, parsed.blocks, CAPS.chunk_chars)
    return [(span, parsed.text[span.start : span.end]) for span in spans]


# RTF


@pytest.mark.parametrize(
    ("rtf", "text"),
    [
        (rb"{\rtf1\ansi\ansicpg1252 El ni\'f1o \{x\}\par Second\line third}", "El niño {x}\n\nSecond\n\nthird"),
        (rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2}", "Привет"),
        ("{\\rtf1\\ansi\\ansicpg1251 Привет}".encode("cp1251"), "Привет"),
        (rb"{\rtf1\ansi\deff0{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset161 B;}}\f1 \'e1\'e2\'e3}", "αβγ"),
        (rb"{\rtf1\ansi\uc1 \u1055?\u-10179?\u-8704? caf\u233e}", "П😀 café"),
        (rb"{\rtf1 {\pict\bin6 }}{{}x}Words {\*\generator Me;}after.}", "Words after."),
        (rb"{\rtf1{\header Head}Body{\stylesheet{\s1 Heading;}}}", "Body"),
        (rb"{\rtf1\trowd a\cell b\cell\row c\cell d\cell\row end}", "a | b\nc | d\n\nend"),
    ],
)
def test_rtf_gives_its_words_in_every_way_of_writing_letters(tmp_path: Path, rtf: bytes, text: str) -> None:
    assert parse(tmp_path, rtf, "a.rtf").text == text


def test_rtf_tells_its_title(tmp_path: Path) -> None:
    assert parse(tmp_path, rb"{\rtf1\ansi{\info{\title A\'f1o}}Body}", "a.doc").title == "Año"


# Tables


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_passage_of_a_table_repeats_the_header(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = ["name|city|age".replace("|", separator)]
    rows += [separator.join([f'"Señor{separator} {n}"', "Málaga", str(n)]) for n in range(60)]
    parsed = parse(tmp_path, "\r\n".join(rows).encode(encoding), "a.csv")
    found = passages(parsed)
    assert len(found) > 4
    for span, text in found:
        heading, header, *lines = [line for line in text.split("\n") if line]
        assert header == "name | city | age"
        assert len(span.path) == 1
        assert heading == span.path[0]
        first = int(heading.split()[1].split("–")[0])
        assert lines[0] == f"{squeeze(f'Señor{separator} {first - 2}')} | Málaga | {first - 2}"
    assert sum(text.count("Málaga") for _, text in found) == 60


def test_a_table_without_a_header_repeats_none(tmp_path: Path) -> None:
    parsed = parse(tmp_path, b"1,2\n3,4\n5,6\n", "a.csv")
    assert parsed.text == "Rows 1–3\n\n1 | 2\n3 | 4\n5 | 6"


def test_a_cell_with_line_breaks_stays_one_row(tmp_path: Path) -> None:
    parsed = parse(tmp_path, b'note,who\n"two\nlines",Ana\n', "a.csv")
    assert "two lines | Ana" in parsed.text


# Notebooks


def test_a_notebook_is_its_words_its_code_and_the_start_of_its_outputs(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Lighthouses\n", "Some *words*."]},
        {
            "cell_type": "code",
            "source": "print(1)\nx = 2",
            "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["\x1b[31m..."]},
                {"output_type": "stream", "text": "z" * 5_000},
            ],
        },
    ]
    parsed = parse(tmp_path, orjson.dumps({"cells": cells, "nbformat": 4}), "a.ipynb")
    assert parsed.title == "Lighthouses"
    assert "Some words.\n\nprint(1)\nx = 2\n\nOutput:\n1\n<Figure>\nValueError: no\nzzz" in parsed.text
    assert "iVBOR" not in parsed.text
    assert len(parsed.text) < 2_200
    assert parsed.blocks[-1].path == ("Lighthouses",)


def test_a_notebook_of_version_3_is_read_and_nonsense_refused(tmp_path: Path) -> None:
    book = {
        "worksheets": [{"cells": [{"cell_type": "heading", "level": 1, "source": "T"}, {"cell_type": "code", "input": "y"}]}]
    }
    assert parse(tmp_path, orjson.dumps(book), "a.ipynb").text == "T\n\ny"
    for content in (b"[1]", b"{", b'{"cells": [1, null, {"cell_type": 3, "source": {"a": 1}, "outputs": "x"}]}'):
        with pytest.raises(Refused):
            parse(tmp_path, content, "a.ipynb")


# Source code

CODE = "import os\n\n\nclass House:\n    def door(self):\n        return 1\n\n\n" + "".join(
    f"def room_{n}(a, b):\n    # the {n}th room has a window to the sea\n    return a + b + {n}\n\n\n" for n in range(20)
)


def test_source_code_is_cut_at_definitions_under_language_and_lines(tmp_path: Path) -> None:
    parsed = parse(tmp_path, CODE.encode(), "house.py")
    rows = CODE.split("\n")
    found = passages(parsed)
    assert len(found) > 5
    for span, text in found:
        assert span.path[0] == "Python"
        lines = span.path[1].split(":")[0].removeprefix("Lines ").split("–")
        body = "\n".join(rows[int(lines[0]) - 1 : int(lines[1])])
        assert text.endswith(body.strip("\n"))
        assert body.startswith(("import", "def ", "class "))
    assert any(span.path[1].endswith("def room_3(a, b)") for span, _ in found) or "def room_3" in parsed.text


def test_every_line_of_a_program_is_in_exactly_one_piece() -> None:
    for room in (40, 200, 5_000):
        lines = CODE.split("\n")
        seen = [first + at for first, rows in pieces(CODE, room) for at, row in enumerate(rows) if row.strip()]
        assert seen == [number for number, line in enumerate(lines, 1) if line.strip()]
        for first, rows in pieces(CODE, room):
            assert rows == lines[first - 1 : first - 1 + len(rows)]


@pytest.mark.parametrize(
    ("name", "language"),
    [("Dockerfile", "Docker"), ("a.RS", "Rust"), ("a.tsx", "TypeScript"), ("makefile", "Makefile"), ("a.yml", "YAML")],
)
def test_a_language_is_told_by_the_name(tmp_path: Path, name: str, language: str) -> None:
    assert parse(tmp_path, b"fn main() {}\n", name).blocks[0].path == (language,)


# Mail


def test_a_mailbox_has_a_section_for_each_message(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for number in range(3):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "ana@example.org", "bo@example.org", f"Letter {number}"
        message.set_content(f"Dear Bo,\n\nFrom here on, año {number}.\n")
        box.add(message)
    box.close()
    parsed = parse(tmp_path, (tmp_path / "box").read_bytes(), "Inbox")
    assert parsed.media_type == "application/mbox"
    assert [block.path for block in parsed.blocks if block.kind == "heading"] == [("Letter 0",), ("Letter 1",), ("Letter 2",)]
    assert "\nFrom here on, año 2." in parsed.text


def test_a_mailbox_of_too_many_messages_is_refused(tmp_path: Path) -> None:
    one = b"From a@b Mon Jan  1 00:00:00 2024\nFrom: a@b\nTo: c@d\nSubject: s\n\nwords\n\n"
    assert parse(tmp_path, one * 50, "a.mbox").text.count("words") == 50
    with pytest.raises(Refused, match="the limit is 50") as refused:
        parse(tmp_path, one * 51, "a.mbox")
    assert refused.value.code == "too_many_pages"


def test_a_message_of_outlook_gives_heads_text_and_names_of_attachments(tmp_path: Path) -> None:
    parsed = parse(tmp_path, outlook("Saludos años", "Nos vemos mañana.", attached="plan.pdf"), "a.msg")
    assert parsed.text.startswith('From: "Ana" <ana@example.org>\nTo: Bo <bo@example.org>\nSubject: Saludos años')
    assert parsed.text.endswith("Nos vemos mañana.\n\nAttachment: plan.pdf")
    assert parsed.title == "Saludos años"


def test_a_sender_of_an_outlook_message_is_named_as_one_reads_it(tmp_path: Path) -> None:
    # In a real failure notice the sender was kept as it came over the wire, so no search by name found it.
    for wire, shown in (
        ("=?GBK?B?TWFpbCBEZWxpdmVyeSBTdWJzeXN0ZW0=?=", "Mail Delivery Subsystem"),
        ("=?none?B?YQ==?=", "=?none?B?YQ==?="),
    ):
        parsed = parse(tmp_path, compound(outlook_tree("Notice", "Body.", sender=wire)), "a.msg")
        assert parsed.text.startswith(f'From: "{shown}" <ana@example.org>')


def test_an_attachment_without_its_properties_costs_only_itself(tmp_path: Path) -> None:
    # One storage that lacked a stream refused the whole message.
    tree = outlook_tree("Subject", "Body words.", attached="plan.pdf")
    tree["__attach_version1.0_#00000001"] = {"__nameid": b"x"}
    parsed = parse(tmp_path, compound(tree), "a.msg")
    assert parsed.text.endswith("Body words.\n\nAttachment: plan.pdf")


# Passwords


def locked(content: bytes, password: str) -> bytes:
    from msoffcrypto.format.ooxml import OOXMLFile

    out = io.BytesIO()
    OOXMLFile(io.BytesIO(content)).encrypt(password, out)
    return out.getvalue()


def test_an_office_file_under_a_password_is_read_with_it_and_says_what_it_needs(tmp_path: Path) -> None:
    words = " ".join(f"Secret word {number * 7919}." for number in range(5_000))  # the library's own writer breaks short files
    content = locked(files.docx(files.paragraph(words)), "open sesame")
    assert parse(tmp_path, content, "a.docx", "open sesame").text == words
    for password, code in ((None, "password_needed"), ("wrong", "password_wrong")):
        with pytest.raises(Refused, match="needs a password") as refused:
            parse(tmp_path, content, "a.docx", password)
        assert refused.value.code == code


def test_a_damaged_locked_file_is_damaged_and_not_ours(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        parse(tmp_path, compound({"EncryptedPackage": bytes(5_000), "EncryptionInfo": b"\4\0\4\0@\0\0\0<x/>"}), "a.docx", "p")
    assert refused.value.code == "damaged"
