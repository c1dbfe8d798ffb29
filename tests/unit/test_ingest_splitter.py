"""Passages are exact spans, lose nothing, keep sentences whole, and know their page and headings."""

from hypothesis import given
from hypothesis import strategies as st

from actors.ingest.parsed import Builder, Parsed
from actors.ingest.sentences import sentences
from actors.ingest.splitter import hard_max, split, split_short

WORDS = st.text(st.sampled_from("abcñÁ é.,!?…¿«»\n\t漢。Ω🙂'\"()1-"), max_size=400)
ITEMS = st.lists(
    st.tuples(st.sampled_from(["heading", "paragraph", "lines", "continues"]), WORDS, st.integers(1, 4)), max_size=25
)


def built(items: list[tuple[str, str, int]]) -> Parsed:
    builder = Builder(10_000_000)
    for page, (kind, text, level) in enumerate(items):
        if kind == "heading":
            builder.heading(text, level, page)
        elif kind == "lines":
            builder.add(text, kind="lines", page=page)
        else:
            builder.add(text, page=page, continues=kind == "continues")
    return builder.build("text/plain")


@given(items=ITEMS, target=st.integers(20, 900))
def test_spans_are_exact_ordered_bounded_and_lose_nothing(items: list[tuple[str, str, int]], target: int) -> None:
    parsed = built(items)
    spans = split(parsed.text, parsed.blocks, target)
    at = 0
    for span in spans:
        passage = parsed.text[span.start : span.end]
        assert passage == passage.strip()
        assert 0 < len(passage) <= hard_max(target)
        assert not parsed.text[at : span.start].strip()
        block = [b for b in parsed.blocks if b.start <= span.start][-1]
        assert span.page == block.page
        for each in parsed.blocks:
            if (
                each.start < span.end and each.end > span.start
            ):  # all of it stands under the path, headings on the way to it too
                assert each.path[: len(span.path)] == span.path or (
                    each.kind == "heading" and span.path[: len(each.path)] == each.path
                )
        at = span.end
    assert not parsed.text[at:].strip()


@given(text=WORDS)
def test_sentences_follow_each_other_without_gap(text: str) -> None:
    assert "".join(text[a:b] for a, b in sentences(text, 0, len(text))) == text


def test_sentences_end_where_a_reader_ends_them() -> None:
    text = "El Sr. López vive en EE. UU. desde 1990. ¿Verdad? Dr. Smith et al. agree, e.g. on p. 5. J. R. Tolkien wrote it. 3.5 is not two."
    found = [text[a:b].strip() for a, b in sentences(text, 0, len(text))]
    assert found == [
        "El Sr. López vive en EE. UU. desde 1990.",
        "¿Verdad?",
        "Dr. Smith et al. agree, e.g. on p. 5.",
        "J. R. Tolkien wrote it.",
        "3.5 is not two.",
    ]
    listed = "1.4.7. Editor por defecto. 2. Otra cosa."
    assert [listed[a:b].strip() for a, b in sentences(listed, 0, len(listed))] == [
        "1.4.7. Editor por defecto.",
        "2. Otra cosa.",
    ]


def test_no_sentence_is_cut_that_fits() -> None:
    builder = Builder(1_000_000)
    builder.add(" ".join(f"This is sentence number {n} of a long paragraph, and it says very little." for n in range(100)))
    parsed = builder.build("text/plain")
    for span in split(parsed.text, parsed.blocks, 300):
        assert parsed.text[span.end - 1] == "."
        assert parsed.text[span.start :].startswith("This is sentence")


def test_a_heading_begins_its_passage_and_tiny_sections_join() -> None:
    builder = Builder(1_000_000)
    builder.heading("Guide", 1)
    builder.heading("First", 2)
    builder.add("A long enough body. " * 20)
    builder.heading("Second", 2)
    builder.add("Tiny.")
    builder.heading("Third", 2)
    builder.add("Tiny too.")
    parsed = builder.build("text/plain")
    passages = [(parsed.text[s.start : s.end], s.path) for s in split(parsed.text, parsed.blocks, 400)]
    assert passages[0][0].startswith("Guide\n\nFirst\n\nA long")
    assert passages[0][1] == ("Guide", "First")
    assert passages[-1] == ("Second\n\nTiny.\n\nThird\n\nTiny too.", ("Guide",))


def test_a_passage_over_a_page_break_has_the_page_it_begins_on() -> None:
    builder = Builder(1_000_000)
    builder.add("It begins here and", page=1)
    builder.add("ends there. Then more.", page=2, continues=True)
    parsed = builder.build("application/pdf")
    (span,) = split(parsed.text, parsed.blocks, 200)
    assert (span.page, parsed.text[span.start : span.end]) == (1, "It begins here and\nends there. Then more.")


def test_a_short_text_stays_whole_and_a_long_one_does_not() -> None:
    assert [(s.start, s.end) for s in split_short("  one. two.  ", 100)] == [(2, 11)]
    assert split_short("   ", 100) == []
    long = "A sentence of some length. " * 30
    spans = split_short(long, 100)
    assert len(spans) > 5
    assert "".join(long[s.start : s.end] for s in spans).replace(" ", "") == long.replace(" ", "")
