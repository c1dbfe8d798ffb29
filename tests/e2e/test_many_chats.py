"""More chats than one page of the list holds."""

from typing import Any

from playwright.sync_api import expect

from tests.e2e.fake_instance import KEY, FakeInstance
from tests.e2e.waiting import standing

MANY = 250


def test_the_older_chats_come_on_request_and_the_keyboard_goes_on_with_them(new_page: Any, fake: FakeInstance) -> None:
    # Only the newest hundred were shown, and nothing led to the others.
    for number in range(MANY):
        fake.converse(f"cnv_{number}", f"Question {number}")
    page = new_page()
    page.goto(f"{fake.address}/#key={KEY}")
    rows = page.get_by_role("list", name="Conversations").get_by_role("listitem")
    expect(rows).to_have_count(100)
    rows.last.get_by_role("button").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Show older chats"
    page.keyboard.press("Enter")
    expect(rows).to_have_count(200)
    expect(page.get_by_role("button", name="Question 149", exact=True)).to_be_focused()  # the first that came
    page.get_by_role("button", name="Show older chats").click()
    expect(rows).to_have_count(MANY)
    expect(page.get_by_role("button", name="Question 49", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name="Show older chats")).to_have_count(0)
    page.keyboard.press("Enter")
    page.wait_for_url("**chat=cnv_49")


def test_older_chats_come_though_the_list_is_read_anew_meanwhile(new_page: Any, fake: FakeInstance) -> None:
    # A change that was told while they were fetched ended the fetch, and the button seemed to do nothing.
    fake.feed.stands = True
    for number in range(150):
        fake.converse(f"cnv_{number}", f"Question {number}")
    page = new_page()
    page.goto(f"{fake.address}/#key={KEY}")
    rows = page.get_by_role("list", name="Conversations").get_by_role("listitem")
    expect(rows).to_have_count(100)
    standing(fake, page)  # what is read anew once the socket stands is no change
    held: list[Any] = []
    page.route("**/api/conversations?*after=*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/api/conversations?*after=*"):
        page.get_by_role("button", name="Show older chats").click()
    fake.converse("cnv_149", "Question 149")
    expect(rows).to_have_count(150)


def test_a_chat_that_is_used_elsewhere_moves_up_and_is_shown_once(new_page: Any, fake: FakeInstance) -> None:
    fake.feed.stands = True
    for number in range(150):
        fake.converse(f"cnv_{number}", f"Question {number}")
    page = new_page()
    page.goto(f"{fake.address}/#key={KEY}")
    rows = page.get_by_role("list", name="Conversations").get_by_role("listitem")
    standing(fake, page)
    page.get_by_role("button", name="Show older chats").click()
    expect(rows).to_have_count(150)
    fake.converse("cnv_0", "Question 0")
    expect(rows.first).to_have_text("Question 0")
    expect(rows).to_have_count(150)


def test_older_chats_that_could_not_be_read_are_said_and_asked_for_again(new_page: Any, fake: FakeInstance) -> None:
    for number in range(120):
        fake.converse(f"cnv_{number}", f"Question {number}")
    page = new_page()
    page.route("**/api/conversations?*after=*", lambda route: route.fulfill(status=500, body="{}"))
    page.goto(f"{fake.address}/#key={KEY}")
    rows = page.get_by_role("list", name="Conversations").get_by_role("listitem")
    expect(rows).to_have_count(100)
    page.get_by_role("button", name="Show older chats").click()
    page.get_by_role("navigation").get_by_text("Something went wrong on the server.").wait_for()
    page.unroute("**/api/conversations?*after=*")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(120)
