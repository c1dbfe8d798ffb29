"""A question asked in other words, and the way between the versions, on the page."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.fake_instance import KEY, FakeInstance

TEXT = "The bridge at Orla is 212 metres long. It was opened in May. Nobody has ever measured it twice.\n"


@pytest.fixture
def page(new_page: Any, fake: FakeInstance) -> Any:
    fake.add("guide.md", TEXT.encode())
    fake.told.delay_s = 0.0
    page = new_page()
    page.goto(f"{fake.address}/#key={KEY}")
    page.get_by_role("button", name="New chat").first.wait_for()
    return page


def ask(page: Any, question: str, count: int) -> None:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")
    answered(page, count)


def answered(page: Any, count: int) -> None:
    page.get_by_role("log").get_by_role("article").nth(count - 1).get_by_role("button", name="Answer again").wait_for()


def edit(page: Any, place: int, text: str) -> None:
    page.get_by_role("button", name="Edit question").nth(place).click()
    field = page.get_by_label("Your edited question")
    field.fill(text)
    field.press("Enter")
    field.wait_for(state="detached")


def test_an_edited_question_begins_a_branch_and_the_old_one_is_looked_at_and_gone_on_from(page: Any, screens: Path) -> None:
    log = page.get_by_role("log")
    ask(page, "How long is the bridge?", 1)
    ask(page, "When was it opened?", 2)
    edit(page, 0, "How wide is the bridge?")
    log.get_by_text("When was it opened?").wait_for(state="detached")
    answered(page, 1)
    versions = page.get_by_role("group", name="Version 2 of 2")
    versions.get_by_text("2/2").wait_for()
    page.screenshot(path=screens / "branches.png")

    versions.get_by_role("button", name="Previous version").focus()
    page.keyboard.press("Enter")
    log.get_by_text("How long is the bridge?").wait_for()
    log.get_by_text("When was it opened?").wait_for()
    back = page.get_by_role("button", name="Previous version")
    assert back.evaluate("e => e === document.activeElement"), "the keyboard keeps its place"
    page.keyboard.press("Enter")
    page.get_by_role("group", name="Version 1 of 2").wait_for()

    ask(page, "Who measured it?", 3)
    assert log.get_by_role("article").count() == 3
    page.reload()
    log.get_by_text("Who measured it?").wait_for()
    log.get_by_text("How long is the bridge?").wait_for()
    page.get_by_role("button", name="Next version").click()
    log.get_by_text("How wide is the bridge?").wait_for()
    assert log.get_by_text("Who measured it?").count() == 0


def test_an_answer_made_again_stands_beside_the_first(page: Any) -> None:
    log = page.get_by_role("log")
    ask(page, "How long is the bridge?", 1)
    log.get_by_role("button", name="Answer again").click()
    page.get_by_role("group", name="Version 2 of 2").wait_for()
    page.get_by_role("button", name="Previous version").click()
    page.get_by_role("group", name="Version 1 of 2").wait_for()
    log.get_by_role("button", name=re.compile("^Source 1")).first.wait_for()
    assert log.get_by_role("article").count() == 1, "the other answer is not shown beside it"
    assert page.get_by_role("button", name="Previous version").is_disabled()


def test_the_field_of_an_edited_question_stays_in_view(new_page: Any, fake: FakeInstance) -> None:
    # The page went to the conversation's end as soon as the field was there, and half of it lay above the window.
    fake.add("guide.md", TEXT.encode())
    fake.told.delay_s = 0.0
    page = new_page(viewport={"width": 390, "height": 700})
    page.goto(f"{fake.address}/#key={KEY}")
    ask(page, "How long is the bridge?", 1)
    ask(page, "Who owns the moon?", 2)
    beyond = page.get_by_role("log").evaluate("(e) => e.scrollHeight - e.clientHeight")
    page.set_viewport_size({"width": 390, "height": 700 + beyond - 40})  # nearly all of it is seen: its end is
    page.get_by_role("button", name="Edit question").first.click()
    field = page.get_by_label("Your edited question")
    expect(field).to_be_focused()
    expect(field).to_be_in_viewport(ratio=1)


def test_leaving_the_edit_changes_nothing(page: Any, fake: FakeInstance) -> None:
    ask(page, "How long is the bridge?", 1)
    page.get_by_role("button", name="Edit question").click()
    field = page.get_by_label("Your edited question")
    field.fill("Something else")
    field.press("Escape")
    page.get_by_role("log").get_by_text("How long is the bridge?").wait_for()
    assert page.get_by_role("button", name="Edit question").evaluate("e => e === document.activeElement")
    assert len(fake.messages) == 2
