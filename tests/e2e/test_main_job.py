"""The page's main job in a real browser: sign in, add, ask, read, open the passage."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fake_instance import KEY

ROOT = Path(__file__).resolve().parents[2]
GUIDE = """# The lighthouse of Cabo Verano

The lighthouse of Cabo Verano was built in 1847 by the engineer Marta Quiroga.
Its lamp can be seen from 31 nautical miles away on a clear night.

🌿 The garden around it holds 212 kinds of native plants.
Visitors are let in on Thursdays between ten and two.
"""
SENTENCE = "The lighthouse of Cabo Verano was built in 1847 by the engineer Marta Quiroga."
ANSWER_S = 180_000  # a small PC reads a prompt at its own speed


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    path = tmp_path / "cabo-verano.md"
    path.write_text(GUIDE, encoding="utf-8")
    return path


def sign_in(page: Any, instance: Any) -> None:
    page.goto(instance.address)
    page.get_by_label("Access key").fill(instance.key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="New chat").first.wait_for()


def add(page: Any, path: Path) -> None:
    page.get_by_role("button", name="Documents").first.click()
    page.get_by_test_id("files").set_input_files(path)
    row = page.get_by_role("list", name="Documents of this project").get_by_role("listitem").filter(has_text="cabo")
    row.get_by_text("Indexed", exact=True).wait_for(timeout=60_000)


def ask(page: Any, question: str) -> Any:
    page.get_by_role("button", name="New chat").first.click()
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")
    return page.get_by_role("log").get_by_role("article").last


def check_axe(page: Any) -> None:
    """No breach of WCAG 2.2 AA that a machine can see."""
    page.evaluate((ROOT / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
    page.evaluate(
        "Promise.all(document.getAnimations().filter((a) => a.effect.getTiming().iterations < Infinity).map((a) => a.finished))"
    )
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
    assert [(v["id"], [n["html"][:160] for n in v["nodes"]]) for v in found["violations"]] == []


def test_an_answer_shows_its_passages_before_its_words_and_they_open_where_it_says(
    new_page: Any, instance: Any, guide: Path
) -> None:
    page = new_page()
    sign_in(page, instance)
    add(page, guide)
    answer = ask(page, "Who built the lighthouse of Cabo Verano?")
    sources = answer.get_by_role("button", name=re.compile(r"^\d+ sources?$"))
    sources.wait_for(timeout=ANSWER_S)
    answer.get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)
    chips = answer.get_by_role("button", name=re.compile("^Source \\d"))
    if chips.count():  # the smallest model may decline, and then cites nothing
        chips.first.click()
    else:
        if sources.get_attribute("aria-expanded") == "false":
            sources.click()
        answer.get_by_role("listitem").get_by_role("button").filter(has_text="Quiroga").first.click()
    mark = page.locator("mark")
    mark.wait_for()
    assert "lighthouse" in mark.inner_text()
    assert mark.evaluate("(m) => { const r = m.getBoundingClientRect(); return r.top >= 0 && r.top < innerHeight }")
    page.reload()  # the address alone brings all of it back
    page.locator("mark").wait_for()
    page.get_by_role("log").get_by_text("Who built the lighthouse of Cabo Verano?").first.wait_for()


def test_a_citation_of_a_streamed_answer_opens_the_very_passage(new_page: Any, citing: Any, guide: Path) -> None:
    page = new_page()
    sign_in(page, citing)
    add(page, guide)
    answer = ask(page, "Who built the lighthouse of Cabo Verano?")
    answer.get_by_role("button", name=re.compile(r"^\d+ sources?$")).wait_for(timeout=ANSWER_S)  # before the first word
    chip = answer.get_by_role("button", name=re.compile("^Source 1")).first
    chip.wait_for(timeout=ANSWER_S)
    answer.get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)
    assert "Quiroga" in answer.inner_text()
    chip.click()
    mark = page.locator("mark")
    mark.wait_for()
    assert "Quiroga" in mark.inner_text()
    assert mark.evaluate("(m) => { const r = m.getBoundingClientRect(); return r.top >= 0 && r.top < innerHeight }")
    page.reload()  # the address alone brings all of it back
    page.locator("mark").wait_for()
    page.get_by_text("Quiroga").first.wait_for()


def test_a_passage_that_is_taller_than_its_window_is_shown_from_its_beginning(new_page: Any, fake: Any) -> None:
    """Its middle was brought into view: of a long passage on a telephone the reader saw neither beginning nor end."""
    fake.add("long.md", "\n".join(f"Line {n} of a passage that is long." for n in range(200)).encode())
    page = new_page(viewport={"width": 390, "height": 600})
    page.goto(f"{fake.address}/?doc=doc_1&from=700&to=5000#key={KEY}")
    mark = page.locator("mark")
    mark.wait_for()
    page.wait_for_function("document.querySelector('mark').getBoundingClientRect().top > 0")
    assert 0 < mark.evaluate("(m) => m.getBoundingClientRect().top") < 200


def test_search_finds_passages_without_the_model(new_page: Any, instance: Any, guide: Path) -> None:
    page = new_page()
    sign_in(page, instance)
    add(page, guide)
    page.get_by_role("button", name="Search", exact=True).first.click()
    page.get_by_label("Search your documents").fill("lighthouse")
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("button", name=re.compile("lighthouse of Cabo", re.I)).first.click()
    page.locator("mark").wait_for()
    assert "q=lighthouse" in page.url


def test_a_wrong_key_is_refused_in_words_and_a_link_signs_in_once(new_page: Any, instance: Any) -> None:
    page = new_page()
    page.goto(instance.address)
    page.get_by_label("Access key").fill("pk_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("not known here").wait_for()
    page.goto(f"{instance.address}/#key={instance.key}")
    page.reload()
    page.get_by_role("button", name="New chat").first.wait_for()
    assert instance.key not in page.url
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Access key").wait_for()


def test_the_page_speaks_spanish_when_the_browser_does_and_on_request(new_page: Any, instance: Any) -> None:
    page = new_page(locale="es-ES")
    page.goto(f"{instance.address}/#key={instance.key}")
    page.get_by_role("button", name="Conversación nueva").first.wait_for()
    assert page.evaluate("document.documentElement.lang") == "es"
    page.get_by_label("Idioma").select_option("en")
    page.get_by_role("button", name="New chat").first.wait_for()
    page.reload()
    page.get_by_role("button", name="New chat").first.wait_for()


def test_the_keyboard_alone_reaches_everything(new_page: Any, citing: Any, guide: Path) -> None:
    page = new_page()
    page.goto(citing.address)
    page.locator("input:focus").wait_for()  # the field has the focus once the page is drawn; keys before that go nowhere
    page.keyboard.type(citing.key)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="New chat").first.wait_for()
    add(page, guide)  # a file chooser is the system's own

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if name in page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"  # the focus is seen
                return
        raise AssertionError(f"{name!r} is not reached by Tab")

    tab_to("New chat")
    page.keyboard.press("Enter")
    page.locator("textarea:focus").wait_for()
    page.keyboard.type("Who built the lighthouse of Cabo Verano?")
    page.keyboard.press("Enter")
    answer = page.get_by_role("log").get_by_role("article").last
    answer.get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)
    tab_to("Source 1")
    page.keyboard.press("Enter")
    page.locator("mark").wait_for()
    page.keyboard.press("Escape")
    page.locator("mark").wait_for(state="detached")
    assert "Source 1" in page.evaluate("document.activeElement.getAttribute('aria-label')")  # back where it came from


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_view(new_page: Any, citing: Any, guide: Path, theme: str) -> None:
    page = new_page(color_scheme=theme)
    page.goto(citing.address)
    page.get_by_label("Access key").wait_for()
    check_axe(page)
    sign_in(page, citing)
    check_axe(page)
    add(page, guide)
    check_axe(page)
    answer = ask(page, "Who built the lighthouse of Cabo Verano?")
    answer.get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)
    answer.get_by_role("button", name=re.compile("^Source 1")).first.click()
    page.locator("mark").wait_for()
    check_axe(page)
    page.get_by_role("button", name="Search", exact=True).first.click()
    page.get_by_label("Search your documents").fill("lighthouse")
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("button", name=re.compile("lighthouse of Cabo", re.I)).first.wait_for()
    check_axe(page)


def test_the_reference_of_the_api_is_drawn_under_its_policy(new_page: Any, instance: Any) -> None:
    page = new_page()  # which fails the test when the browser refused anything
    page.goto(f"{instance.address}/docs")
    page.get_by_role("heading", name="Perenne").wait_for(timeout=90_000)  # 37 s were seen on two cores that 30 others wanted
    page.get_by_text("/api/search", exact=True).first.click()
    page.get_by_text("Responses").first.wait_for()
