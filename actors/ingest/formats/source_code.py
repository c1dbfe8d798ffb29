"""Source code: its lines as they stand, cut where a definition or a blank line is, each piece under its language and its lines."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from actors.ingest.formats.text import decode
from actors.ingest.parsed import Parsed, Refused
from actors.ingest.source import Source

_BY_ENDING: dict[str, str] = {
    ending: language
    for language, endings in {
        "Ada": "adb ads",
        "Assembly": "asm s",
        "Batch": "bat cmd",
        "C": "c h",
        "C#": "cs",
        "C++": "cc cpp cxx hh hpp hxx",
        "CMake": "cmake",
        "CSS": "css scss sass less",
        "Clojure": "clj cljs edn",
        "Dart": "dart",
        "Elixir": "ex exs",
        "Erlang": "erl hrl",
        "F#": "fs fsx",
        "Fortran": "f f90 f95 for",
        "Go": "go",
        "GraphQL": "graphql gql",
        "Groovy": "groovy gradle",
        "HCL": "tf hcl",
        "Haskell": "hs",
        "JSON": "json json5",
        "Java": "java",
        "JavaScript": "js mjs cjs jsx",
        "Julia": "jl",
        "Kotlin": "kt kts",
        "Lisp": "lisp el scm",
        "Lua": "lua",
        "Makefile": "mk",
        "Nix": "nix",
        "OCaml": "ml mli",
        "Objective-C": "m mm",
        "PHP": "php",
        "Pascal": "pas",
        "Perl": "pl pm",
        "PowerShell": "ps1 psm1",
        "Protocol Buffers": "proto",
        "Python": "py pyi pyw",
        "R": "r",
        "Ruby": "rb",
        "Rust": "rs",
        "SQL": "sql",
        "Scala": "scala sc",
        "Settings": "ini cfg conf properties env toml",
        "Shell": "sh bash zsh fish ksh",
        "Svelte": "svelte",
        "Swift": "swift",
        "TypeScript": "ts tsx mts cts",
        "VHDL": "vhd vhdl",
        "Verilog": "v sv",
        "Visual Basic": "vb vbs bas",
        "Vue": "vue",
        "XML": "xml xsd xsl xslt",
        "YAML": "yaml yml",
        "Zig": "zig",
    }.items()
    for ending in endings.split()
}
_BY_NAME = {"makefile": "Makefile", "gnumakefile": "Makefile", "dockerfile": "Docker", "cmakelists.txt": "CMake"}
_WORDS = r"""(?:async\s+)?(?:def|class|function|func|fn|fun|struct|enum|union|interface|trait|impl|module|namespace|package|object|
    record|protocol|extension|macro_rules!|sub|proc|procedure|type|create|alter|insert|resource|service|message|typedef|defmodule)\b"""
_DEFINITION = re.compile(
    rf"^(?:(?:export|default|public|private|protected|internal|static|final|abstract|pub(?:\([a-z]+\))?|unsafe|extern|inline|"
    rf"const|override|open|sealed|data|partial)\s+)*{_WORDS}\s*[^\n]*",
    re.I | re.X,
)
_GAP = 80  # characters of a piece that its heading and the blank line take
_NAME_CHARS_MAX = 60
_Lines = tuple[int, list[str]]  # the first one's number, and the lines


def language_of(name: str) -> str | None:
    """The language that a file's name says; None when it says none."""
    path = PurePosixPath(name.lower())
    return _BY_NAME.get(path.name) or _BY_ENDING.get(path.suffix.removeprefix("."))


def _paragraphs(lines: list[str]) -> Iterator[_Lines]:
    """Stretches without a blank line; a definition that is not indented begins one as well."""
    first = 0
    for at, line in enumerate(lines):
        blank = not line.strip()
        if blank or (at > first and _DEFINITION.match(line)):
            if at > first:
                yield first + 1, lines[first:at]
            first = at + blank
    if len(lines) > first:
        yield first + 1, lines[first:]


def _cut(lines: _Lines, room: int) -> Iterator[_Lines]:
    """A stretch that is too long, at its lines."""
    first, rows = lines
    held: list[str] = []
    size = 0
    for at, line in enumerate(rows):
        if held and size + len(line) > room:
            yield first + at - len(held), held
            held, size = [], 0
        held.append(line)
        size += len(line) + 1
    if held:
        yield first + len(rows) - len(held), held


def pieces(text: str, room: int) -> Iterator[_Lines]:
    """Groups of `room` characters at most (but for a longer line); one that is half full ends before a definition."""
    held: list[str] = []
    start = size = 0
    for paragraph in _paragraphs(text.split("\n")):
        for first, rows in _cut(paragraph, room):
            length = sum(map(len, rows)) + len(rows)
            begins = size > room // 2 and _DEFINITION.match(rows[0]) is not None
            if held and (size + length > room or begins):
                yield start, held
                held, size = [], 0
            if held:
                held += [""] * (first - start - len(held))
            else:
                start = first
            held += rows
            size += length + 1
    if held:
        yield start, held


def _heading(first: int, rows: list[str]) -> str:
    name = next((found.group().strip(" {:(") for row in rows if (found := _DEFINITION.match(row))), "")
    lines = f"Lines {first}–{first + len(rows) - 1}"
    return f"{lines}: {name[:_NAME_CHARS_MAX]}" if name else lines


def parse(source: Source) -> Parsed:
    """A program or a file of settings."""
    language = language_of(source.name) or "Code"
    text = decode(source.read()).replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    if not text.strip():
        raise Refused("empty", "it is empty")
    builder = source.builder()
    builder.heading(language, 1)
    for first, rows in pieces(text, max(source.caps.chunk_chars - _GAP, 100)):
        builder.heading(_heading(first, rows), 2)
        builder.add("\n".join(row.rstrip() for row in rows), kind="lines")
    return builder.build("text/x-source", title=None)
