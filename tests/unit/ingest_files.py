"""Small files made by hand for the tests of ingest: honest ones, and bombs."""

import io
import zipfile
from email.message import EmailMessage

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf(*pages: str, title: str = "") -> bytes:
    """A PDF of one font; each page's lines are written from the top."""
    objects: list[bytes] = []
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    for number, page in enumerate(pages):
        rows = "".join(f"({line.translate({40: '[', 41: ']', 92: '/'})}) Tj T*\n" for line in page.split("\n"))
        content = f"BT /F1 11 Tf 14 TL 50 780 Td\n{rows}ET".encode("cp1252", "replace")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * number} 0 R >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    objects.append(f"<< /Title ({title}) >>".encode())
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.5\n")
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(
        b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(objects), start)
    )
    return out.getvalue()


def archive(parts: dict[str, str | bytes]) -> bytes:
    """A ZIP of these parts, of no particular day: the same parts give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def docx(body: str, **parts: str) -> bytes:
    """A DOCX of this body; `parts` are more files of `word/` (styles, footnotes, comments)."""
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "word/document.xml": f"<w:document {_W}><w:body>{body}</w:body></w:document>",
    }
    for name, content in parts.items():
        files[f"word/{name}.xml"] = f"<w:{name} {_W}>{content}</w:{name}>"
    return archive(files)


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of a DOCX."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


HEADING_STYLES = (
    '<w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style>'
    '<w:style w:styleId="Mine"><w:name w:val="My heading"/><w:basedOn w:val="H2"/></w:style>'
)


def docx_bomb(size: int = 900 << 20) -> bytes:
    """A DOCX of a few hundred kilobytes whose document is `size` bytes of one character."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        with packed.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(size >> 20):
                part.write(b" " * (1 << 20))
    return out.getvalue()


def billion_laughs() -> bytes:
    """A DOCX whose XML expands to gigabytes for a parser that follows entities."""
    names = "abcdefghij"
    entities = '<!ENTITY a "laughs and more laughs">' + "".join(
        f'<!ENTITY {name} "{f"&{names[n]};" * 10}">' for n, name in enumerate(names[1:])
    )
    text = f"<!DOCTYPE x [{entities}]><w:document {_W}><w:body><w:p><w:r><w:t>A &j; b</w:t></w:r></w:p></w:body></w:document>"
    return archive({"word/document.xml": text})


def external_entity(path: str) -> bytes:
    """A DOCX that asks its reader to read another file into the text."""
    text = (
        f'<!DOCTYPE x [<!ENTITY secret SYSTEM "file://{path}">]><w:document {_W}><w:body>'
        "<w:p><w:r><w:t>Before &secret; after.</w:t></w:r></w:p></w:body></w:document>"
    )
    return archive({"word/document.xml": text})


def mail(subject: str, text: str) -> bytes:
    """A message with a plain and a rich body and an attachment."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ana <ana@example.org>", "bo@example.org", subject
    message.set_content(text)
    message.add_alternative(f"<p>rich {text}</p>", subtype="html")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="plan.bin")
    return bytes(message)
