"""XLSX: sheets as sections, rows as lines; values as they are stored, dates as dates."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from actors.ingest.formats.package import Element, Package, local
from actors.ingest.formats.relations import package_title, relation_id, relations
from actors.ingest.parsed import Parsed, squeeze, too_many_pages
from actors.ingest.source import Source

_WORKBOOK = "xl/workbook.xml"
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))  # ECMA-376 part 1, 18.8.30
_LITERAL = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')  # of a number format: not placeholders
_ROWS_A_BLOCK = 200


def _children(element: Element | None, name: str) -> Iterator[Element]:
    return (e for e in (() if element is None else element) if local(e) == name)


def _string(item: Element) -> str:
    """Rich or plain; phonetic guides stay out."""
    parts = [e.text or "" for e in item.iter() if local(e) == "t" and local(e.getparent()) != "rPh"]
    return squeeze("".join(parts))


def _date_styles(styles: Element | None) -> frozenset[int]:
    """Numbers of the cell styles that show a date or a time."""
    if styles is None:
        return frozenset()
    dates = set(_DATE_FORMATS)
    for formats in _children(styles, "numFmts"):
        for each in _children(formats, "numFmt"):
            code = _LITERAL.sub("", each.get("formatCode") or "").lower()
            if re.search("[ymdhs]", code) and (each.get("numFmtId") or "").isdigit():
                dates.add(int(each.get("numFmtId")))
    found: set[int] = set()
    for formats in _children(styles, "cellXfs"):
        for number, each in enumerate(_children(formats, "xf")):
            if (each.get("numFmtId") or "").isdigit() and int(each.get("numFmtId")) in dates:
                found.add(number)
    return frozenset(found)


def _date(serial: float, epoch: datetime) -> str:
    """A serial day as a date, with the time where it has one; below one day it is a time of day."""
    moment = epoch + timedelta(seconds=round(serial * 86_400))
    if serial < 1:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d}" if serial == int(serial) else f"{moment:%Y-%m-%d %H:%M}"


class _Cells:
    def __init__(self, package: Package, base_1904: bool) -> None:
        strings = package.optional("xl/sharedStrings.xml")
        self._strings = [_string(item) for item in _children(strings, "si")]
        self._dates = _date_styles(package.optional("xl/styles.xml"))
        self._epoch = datetime(1904, 1, 1) if base_1904 else datetime(1899, 12, 30)

    def text(self, cell: Element) -> str:
        """What the cell shows, as near as its stored value is."""
        kind = cell.get("t") or "n"
        if kind == "inlineStr":
            return " ".join(_string(item) for item in _children(cell, "is"))
        value = next((e.text or "" for e in _children(cell, "v")), "").strip()
        if kind == "s":
            return self._strings[int(value)] if value.isdigit() and int(value) < len(self._strings) else ""
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(value, "")
        if kind != "n" or not value:
            return squeeze(value)
        style = cell.get("s") or ""
        try:
            number = float(value)
            if style.isdigit() and int(style) in self._dates and 0 <= number < 2_958_466:  # the year 9999
                return _date(number, self._epoch)
            return f"{number:.15g}"
        except (ValueError, OverflowError):
            return value


def _rows(sheet: Element, cells: _Cells) -> Iterator[str]:
    for data in _children(sheet, "sheetData"):
        for row in _children(data, "row"):
            texts = [cells.text(cell) for cell in _children(row, "c")]
            if any(texts):
                yield " | ".join(text for text in texts if text)


def parse(source: Source) -> Parsed:
    """A workbook: every sheet that is not hidden."""
    with Package(source) as package:
        workbook = package.part(_WORKBOOK)
        known = relations(package, _WORKBOOK)
        old = any(e.get("date1904") in ("1", "true") for e in _children(workbook, "workbookPr"))
        sheets = [e for group in _children(workbook, "sheets") for e in _children(group, "sheet")]
        if len(sheets) > source.caps.pages_max:
            raise too_many_pages(len(sheets), "sheets", source.caps.pages_max)
        cells, builder = _Cells(package, old), source.builder()
        for number, sheet in enumerate(sheets, 1):
            kind, part = known.get(relation_id(sheet), ("", ""))
            if kind != "worksheet" or (sheet.get("state") or "visible") != "visible":
                continue
            rows = list(_rows(package.part(part), cells))
            if rows:
                builder.heading(sheet.get("name") or f"Sheet {number}", 1, number)
            for at in range(0, len(rows), _ROWS_A_BLOCK):
                builder.add("\n".join(rows[at : at + _ROWS_A_BLOCK]), kind="lines", page=number)
            source.progress(number, len(sheets))
        title = package_title(package)
    return builder.build("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", pages=len(sheets), title=title)
