"""Separated values (CSV, TSV): rows in groups of a passage each, every group under its rows' numbers and with the header again."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from actors.ingest.formats.text import decode
from actors.ingest.parsed import Builder, Parsed, Refused, squeeze
from actors.ingest.source import Source

_SAMPLE_ROWS = 50
_SEPARATORS = ",;\t|"
_GAP = 60  # characters of a group that its heading and the blank lines take


def _reader(text: str, separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def separator_of(text: str, ending: str = "") -> str | None:
    """The sign that cuts most of the first rows into the same number of cells, two at least; None when none does."""
    found: tuple[float, int, str] | None = None
    for separator in sorted(_SEPARATORS, key=lambda each: each != "\t") if ending == ".tsv" else _SEPARATORS:
        widths: list[int] = []
        try:
            for row in _reader(text, separator):
                if row:
                    widths.append(len(row))
                if len(widths) >= _SAMPLE_ROWS:
                    break
        except csv.Error:
            continue
        usual = max(set(widths), key=widths.count, default=1)
        if usual > 1:
            score = (widths.count(usual) / len(widths), usual, separator)
            found = score if found is None or score[:2] > found[:2] else found
    return found[2] if found else None


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _is_header(row: Sequence[str], width: int) -> bool:
    """Names, not values: as many as there are columns, each said once, none a number."""
    cells = [cell for cell in row if cell]
    return len(row) >= width and bool(cells) and len(set(cells)) == len(cells) and not any(map(_is_number, cells))


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of every row that says something; numbers count from 1, the header included, as a spreadsheet does."""
    for number, row in enumerate(_reader(text, separator), 1):
        cells = [squeeze(cell) for cell in row]
        if any(cells):
            yield number, cells


def _add_group(builder: Builder, header: str, first: int, last: int, lines: list[str]) -> None:
    builder.heading(f"Rows {first}–{last}" if last > first else f"Row {first}", 1)
    builder.add("\n".join([header, *lines] if header else lines), kind="lines")


def _add(builder: Builder, rows: Iterator[tuple[int, list[str]]], target: int) -> None:
    start = list(islice(rows, 2))
    header = ""
    if len(start) == 2 and _is_header(start[0][1], len(start[1][1])):
        header = " | ".join(start.pop(0)[1])
    room = max(target - len(header) - _GAP, target // 3)
    lines: list[str] = []
    size = first = last = 0
    for number, cells in chain(start, rows):
        line = " | ".join(cells)
        if lines and size + len(line) > room:
            _add_group(builder, header, first, last, lines)
            lines, size = [], 0
        first = first if lines else number
        last, size = number, size + len(line) + 1
        lines.append(line)
    if lines:
        _add_group(builder, header, first, last, lines)


def parse(source: Source) -> Parsed:
    """A table as text. Without a separator that fits, each line is one cell."""
    text = decode(source.read())
    csv.field_size_limit(source.caps.text_chars_max)
    builder = source.builder()
    separator = separator_of(text, source.ending) or ","
    try:
        _add(builder, _rows(text, separator), source.caps.chunk_chars)
    except csv.Error as error:
        raise Refused("damaged", f"it is damaged: its rows can't be told apart ({error})") from error
    if builder.characters == 0:
        raise Refused("empty", "there is no text in it")
    return builder.build("text/tab-separated-values" if separator == "\t" else "text/csv")
