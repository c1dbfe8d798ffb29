"""HTML: what a reader of the page reads. Scripts, navigation and page furniture stay out, headings stay headings."""

import re
from typing import Any

from actors.ingest.formats.text import decode
from actors.ingest.parsed import Builder, Parsed, Refused, squeeze
from actors.ingest.source import Source

_DROPPED = frozenset(
    """script style noscript template svg math canvas iframe object embed applet audio video map area head meta link base
    nav aside footer dialog button select option datalist input textarea progress meter""".split()  # noqa: SIM905
)
_BLOCKS = frozenset(
    """address article blockquote body center dd details div dl dt fieldset figcaption figure form header hgroup hr html legend
    li main ol p pre section summary table tbody td tfoot th thead tr ul caption h1 h2 h3 h4 h5 h6 title""".split()  # noqa: SIM905
)
_ROLES = frozenset("""navigation banner contentinfo search menu menubar complementary dialog alertdialog""".split())  # noqa: SIM905
_FURNITURE = re.compile(
    r"(^|[-_ ])(cookie|consent|breadcrumbs?|navbar|nav|sidebar|skip-?link|share|social|pagination)([-_ ]|$)", re.I
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_XML_ENCODING = re.compile(rb"^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]+)", re.I)
_MAIN_SHARE = 0.4  # of the page's text: less, and its <main> or <article> is not the whole of what it says


def _tag(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _is_furniture(element: Any, tag: str) -> bool:
    if tag in _DROPPED or "hidden" in element.attrib or element.get("aria-hidden") == "true":
        return True
    if (element.get("role") or "").lower() in _ROLES:
        return True
    if tag in ("div", "section", "ul", "ol", "header", "p", "span", "table"):
        style = (element.get("style") or "").replace(" ", "").lower()
        marks = f"{element.get('class') or ''} {element.get('id') or ''}"
        return "display:none" in style or (len(marks) < 200 and _FURNITURE.search(marks) is not None)
    return False


class _Reader:
    """Walks the tree with a stack of its own (a page may be nested deeper than Python's) and fills the builder."""

    def __init__(self, builder: Builder, page: int | None) -> None:
        self._builder, self._page = builder, page
        self._words: list[str] = []
        self._rows: list[str] = []
        self._cells: list[str] | None = None
        self._depth_pre = 0

    def _flush(self) -> None:
        """The words so far are a paragraph."""
        text = "".join(self._words)
        self._words.clear()
        if self._depth_pre:
            self._builder.add(text, kind="lines", page=self._page)
            return
        text = squeeze(text)
        if self._cells is not None:
            if text:
                self._cells.append(text)
        else:
            self._builder.add(text, page=self._page)

    def _flush_rows(self) -> None:
        self._builder.add("\n".join(self._rows), kind="lines", page=self._page)
        self._rows.clear()

    def _open(self, tag: str) -> None:
        if tag == "br":
            self._words.append("\n")
        if tag not in _BLOCKS:
            return
        if tag in ("li", "tr"):
            self._flush()
        elif self._cells is None:
            self._flush()
            if tag not in ("td", "th", "tbody", "thead", "tfoot"):
                self._flush_rows()
        else:
            self._words.append(" ")
        if tag == "tr":
            self._cells = []
        elif tag == "pre" and self._cells is None:
            self._depth_pre += 1

    def _close(self, tag: str) -> None:
        if tag not in _BLOCKS:
            return
        text = squeeze("".join(self._words))
        if tag[0] == "h" and tag[1:].isdigit() and self._cells is None:
            self._words.clear()
            self._builder.heading(text, int(tag[1:]), self._page)
        elif tag in ("td", "th") and self._cells is not None:
            self._words.clear()
            self._cells.append(text)
        elif tag == "tr" and self._cells is not None:
            self._flush()
            cells, self._cells = self._cells, None
            if any(cells):
                self._rows.append(" | ".join(cell for cell in cells if cell))
        elif tag == "li" and self._cells is None and not self._depth_pre:
            self._words.clear()
            if text:
                self._rows.append(f"- {text}")
        elif self._cells is not None:
            self._words.append(" ")
        else:
            self._flush()
            if tag in ("table", "ul", "ol"):
                self._flush_rows()
        if tag == "pre" and self._depth_pre:
            self._depth_pre -= 1

    def read(self, root: Any) -> None:
        stack: list[tuple[Any, str, Any]] = []

        def enter(element: Any) -> None:
            tag = _tag(element)
            if tag and not _is_furniture(element, tag):
                self._open(tag)
                self._words.append(element.text or "")
                stack.append((element, tag, iter(element)))
            elif stack:
                self._words.append(element.tail or "")

        enter(root)
        while stack:
            element, tag, children = stack[-1]
            child = next(children, None)
            if child is not None:
                enter(child)
                continue
            stack.pop()
            self._close(tag)
            if stack:
                self._words.append(element.tail or "")
        self._flush()
        self._flush_rows()


def _main(root: Any) -> Any:
    """The page's <main> or only <article>, where it holds most of the text."""
    found = list(root.iter("main")) or list(root.iter("article"))
    if len(found) != 1:
        return root
    whole, part = len(squeeze(" ".join(root.itertext()))), len(squeeze(" ".join(found[0].itertext())))
    return found[0] if part >= _MAIN_SHARE * whole else root


def _tree(text: str) -> Any:
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if any(error.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for error in parser.error_log):
        raise Refused(
            "nested_too_deeply", "it is nested too deeply: a part of its text would be lost"
        )  # libxml2 stops at 2,048
    return root


def add_html(builder: Builder, text: str, page: int | None = None) -> str | None:
    """A page's text into the builder; -> its title."""
    root = _tree(text)
    if root is None:
        return None
    title = next((squeeze("".join(t.itertext())) for t in root.iter("title")), None)
    body = next(iter(root.iter("body")), root)
    _Reader(builder, page).read(_main(body))
    return title


def decode_html(content: bytes) -> str:
    """Text of a page's bytes, with the encoding that it declares of itself."""
    declared = _XML_ENCODING.search(content[:1024]) or _CHARSET.search(content[:64_000])
    return decode(content, declared.group(1).decode("ascii", "replace") if declared else None)


def parse(source: Source) -> Parsed:
    """An HTML file."""
    builder = source.builder()
    title = add_html(builder, decode_html(source.read()))
    if builder.characters == 0:
        raise Refused("empty", "there is no text in the page")
    return builder.build("text/html", title=title)
