"""What happens elsewhere is shown without a reload: by the page's socket, and by the clock while there is none."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.fake_instance import KEY, FakeInstance
from tests.e2e.waiting import standing, ticking, until
from tests.live.running import mark_of_run

TEXT = "The bridge at Orla is 212 metres long. It was opened in May. Nobody has ever measured it twice.\n"
ANSWER_S = 180_000  # a small PC reads a prompt at its own speed


def opened(new_page: Any, address: str, key: str, view: str = "", clock: bool = False) -> Any:
    page = new_page()
    if clock:
        page.clock.install()
    page.goto(f"{address}/{view}#key={key}")
    page.get_by_role("button", name="New chat").first.wait_for()
    return page


def chats(page: Any) -> Any:
    return page.get_by_role("list", name="Conversations").get_by_role("listitem")


def rows(page: Any) -> Any:
    return page.get_by_role("list", name="Documents of this project").get_by_role("listitem")


def test_a_second_window_sees_a_new_chat_its_answer_and_a_new_document(new_page: Any, instance: Any, tmp_path: Path) -> None:
    # Neither list is asked for by the clock within the time that is waited here: what is seen was told.
    mark = mark_of_run()
    first, second, third = (opened(new_page, instance.address, instance.key, view) for view in ("", "", "?view=documents"))
    (tmp_path / f"{mark}.md").write_text(TEXT)
    first.get_by_role("button", name="Documents").first.click()
    first.get_by_test_id("files").set_input_files(tmp_path / f"{mark}.md")
    rows(third).filter(has_text=mark).get_by_text("Indexed", exact=True).wait_for(timeout=60_000)

    first.get_by_role("button", name="New chat").first.click()
    first.get_by_label("Your question").fill(f"How long is the bridge of {mark}?")
    first.keyboard.press("Enter")
    chats(second).filter(has_text=mark).get_by_role("button").first.click()
    answers = second.get_by_role("log").get_by_role("article")
    expect(answers).to_have_count(1)
    answers.first.get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)
    first.get_by_role("log").get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)

    first.get_by_label("Your question").fill("And who measured it?")
    first.keyboard.press("Enter")
    second.get_by_role("log").get_by_text("And who measured it?").wait_for()
    answers.nth(1).get_by_role("button", name="Answer again").wait_for(timeout=ANSWER_S)
    expect(first.get_by_role("log").get_by_role("article")).to_have_count(2)

    row = chats(first).filter(has_text=mark)
    row.hover()
    row.get_by_role("button", name="Delete “").click()
    row.get_by_role("button", name="Delete?").click()
    expect(chats(second).filter(has_text=mark)).to_have_count(0)
    second.get_by_role("log").get_by_text("It is not there any more.").wait_for()


def test_while_the_socket_stands_nothing_is_asked_by_the_clock(new_page: Any, fake: FakeInstance) -> None:
    fake.feed.stands = True
    fake.add("guide.md", TEXT.encode())
    page = opened(new_page, fake.address, KEY, "?view=documents", clock=True)
    standing(fake, page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("?")[0].removeprefix(f"{fake.address}/api/")))
    page.clock.run_for(12_000)  # by the clock a document that moves is asked for each second
    fake.converse("cnv_1", "Asked elsewhere")
    chats(page).filter(has_text="Asked elsewhere").wait_for()
    assert set(asked) == {"conversations"}
    fake.feed.tell("document", "doc_1")
    rows(page).filter(has_text="guide.md").get_by_text("Indexing", exact=True).wait_for()


def test_without_a_socket_the_lists_are_asked_for_by_the_clock(new_page: Any, fake: FakeInstance) -> None:
    page = opened(new_page, fake.address, KEY, "?view=documents", clock=True)
    fake.add("guide.md", TEXT.encode())
    fake.converse("cnv_1", "Asked elsewhere")
    ticking(page, chats(page).filter(has_text="Asked elsewhere"))
    ticking(page, rows(page).filter(has_text="guide.md").get_by_text("Indexed", exact=True))
    assert "POST ws-ticket" in fake.asked
    assert fake.feed.watched == []


def test_a_broken_socket_is_taken_up_where_it_was_and_misses_nothing(new_page: Any, fake: FakeInstance) -> None:
    fake.feed.stands = True
    page = opened(new_page, fake.address, KEY)
    standing(fake, page)
    fake.converse("cnv_1", "Before the break")
    chats(page).filter(has_text="Before the break").wait_for()
    seen = len(fake.feed.changes)
    fake.feed.stands = False
    fake.feed.cut()
    asked = fake.asked.count("POST ws-ticket")
    fake.converse("cnv_2", "During the break")
    until(page, lambda: fake.asked.count("POST ws-ticket") >= asked + 2)  # refused twice
    fake.feed.stands = True
    chats(page).filter(has_text="During the break").wait_for()
    standing(fake, page, count=2)
    assert fake.feed.watched == [(None, None), (seen, "told")]


def test_a_refused_ticket_does_not_keep_the_page_from_working(new_page: Any, fake: FakeInstance) -> None:
    fake.feed.stands = True
    page = new_page()
    page.route("**/api/ws-ticket", lambda route: route.fulfill(status=201, body='{"ticket": "forged", "expires_in_s": 30}'))
    page.goto(f"{fake.address}/#key={KEY}")
    fake.add("guide.md", TEXT.encode())
    page.get_by_label("Your question").fill("How long is the bridge?")
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_role("button", name="Answer again").wait_for()
    assert fake.feed.watched == []


@pytest.mark.parametrize("stands", [True, False])
def test_a_question_asked_here_is_shown_once_however_it_is_told(new_page: Any, fake: FakeInstance, stands: bool) -> None:
    # The change of one's own question may be told, and read, before the answer to having asked it is there.
    fake.feed.stands = stands
    fake.add("guide.md", TEXT.encode())
    page = opened(new_page, fake.address, KEY)
    log = page.get_by_role("log")
    page.get_by_label("Your question").fill("How long is the bridge?")
    page.keyboard.press("Enter")
    log.get_by_role("button", name="Answer again").wait_for()

    def late(route: Any) -> None:
        answer = route.fetch()
        log.get_by_text("When was it opened?").wait_for() if stands else None
        route.fulfill(response=answer)

    page.route(
        "**/api/conversations/*/messages", lambda route: late(route) if route.request.method == "POST" else route.continue_()
    )
    page.evaluate(
        """() => { window.most = 0; new MutationObserver(() => {
            const said = [...document.querySelectorAll('[role=log] p')].filter((p) => p.textContent.includes('When was it opened?'));
            window.most = Math.max(window.most, said.length) }).observe(document.body, {childList: true, subtree: true}) }"""
    )
    page.get_by_label("Your question").fill("When was it opened?")
    page.keyboard.press("Enter")
    log.get_by_role("article").nth(1).get_by_role("button", name="Answer again").wait_for()
    expect(page.get_by_label("Your question")).to_have_value("")  # the page has the answer to having asked
    assert page.evaluate("window.most") == 1
