"""EPUB: its chapters in reading order, each read as the page it is."""

import posixpath
from urllib.parse import unquote

from actors.ingest.formats.html import add_html, decode_html
from actors.ingest.formats.package import Element, Package, local
from actors.ingest.parsed import Parsed, Refused
from actors.ingest.source import Source

_CHAPTERS = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def _root_file(package: Package) -> str:
    container = package.part("META-INF/container.xml")
    for element in container.iter():
        if local(element) == "rootfile" and element.get("full-path"):
            return element.get("full-path")
    raise Refused("damaged", "it is damaged: it does not say where its contents are")


def _chapters(root: Element, folder: str) -> list[str]:
    items: dict[str, str] = {}
    order: list[str] = []
    for element in root.iter():
        if local(element) == "item" and element.get("media-type") in _CHAPTERS:
            path = posixpath.normpath(posixpath.join(folder, unquote(element.get("href") or "")))
            items[element.get("id") or ""] = path
        elif local(element) == "itemref":
            order.append(element.get("idref") or "")
    return [items[name] for name in order if name in items]


def parse(source: Source) -> Parsed:
    """A book. A chapter that can't be read is left out; none at all is a refusal."""
    with Package(source) as package:
        root_file = _root_file(package)
        root = package.part(root_file)
        chapters = _chapters(root, posixpath.dirname(root_file))
        builder = source.builder()
        for number, chapter in enumerate(chapters, 1):
            if chapter in package.names:
                add_html(builder, decode_html(package.read(chapter)))
            source.progress(number, len(chapters))
        title = next((e.text for e in root.iter() if local(e) == "title"), None)
    if builder.characters == 0:
        raise Refused("empty", "there is no text in the book; it may be protected against copying")
    return builder.build("application/epub+zip", title=title)
