"""What the page says and does when things are not well, against an instance that is told to be so."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fake_instance import KEY, OTHER_KEY, FakeInstance

TEXT = "The bridge at Orla is 212 metres long. It was opened in May. Nobody has ever measured it twice.\n"


@pytest.fixture
def page(new_page: Any, fake: FakeInstance) -> Any:
    page = new_page()
    page.goto(f"{fake.address}/#key={KEY}")
    page.get_by_role("button", name="New chat").first.wait_for()
    return page


def ask(page: Any, question: str) -> Any:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")
    return page.get_by_role("log").get_by_role("article").last


def test_a_model_on_its_way_is_a_number_and_search_is_offered(page: Any, fake: FakeInstance) -> None:
    fake.told.phase, fake.told.progress = "downloading", 0.34
    page.reload()
    page.get_by_text("The language model is downloading, 34 %.").wait_for()
    page.get_by_text("Search works already").wait_for()
    fake.told.phase = "ready"
    page.get_by_text("The language model is downloading").wait_for(state="detached")


def test_an_answer_that_began_again_says_so_and_is_whole(page: Any, fake: FakeInstance) -> None:
    fake.add("guide.md", TEXT.encode())
    fake.told.restart = True
    answer = ask(page, "How long is the bridge?")
    answer.get_by_text("The answer was interrupted and began again.").wait_for()
    answer.get_by_role("button", name="Answer again").wait_for()
    assert answer.inner_text().count("212 metres long")


def test_a_stream_that_breaks_is_resumed_by_number_and_nothing_is_doubled(page: Any, fake: FakeInstance) -> None:
    fake.add("guide.md", TEXT.encode())
    fake.told.break_after = 3
    answer = ask(page, "How long is the bridge?")
    answer.get_by_role("button", name="Answer again").wait_for()
    assert (
        answer.locator(".prose")
        .inner_text()
        .replace("\n", "")
        .startswith("Your document says: The bridge at Orla is 212 metres long. ")
    )
    assert sorted(set(fake.asked_after))[:3] == [0, 3, 6]


def test_what_is_not_in_the_documents_is_shown_as_that(page: Any, fake: FakeInstance) -> None:
    fake.add("guide.md", TEXT.encode())
    answer = ask(page, "Who owns the moon?")
    answer.get_by_text("Not in your documents").wait_for()
    assert answer.get_by_role("button", name=re.compile("^Source")).count() == 0


def test_stop_keeps_what_was_written_and_regenerate_answers_anew(page: Any, fake: FakeInstance) -> None:
    fake.add("guide.md", TEXT.encode())
    fake.told.delay_s = 0.3
    answer = ask(page, "How long is the bridge?")
    answer.get_by_text("Your document").wait_for()
    page.get_by_role("button", name="Stop").click()
    answer.get_by_text("Stopped.").wait_for()
    fake.told.delay_s = 0.01
    answer.get_by_role("button", name="Answer again").click()
    page.get_by_role("log").get_by_role("button", name=re.compile("^Source 1")).first.wait_for()
    assert page.get_by_role("log").get_by_role("article").count() == 1


def test_a_question_sent_while_an_answer_is_written_waits_its_turn(page: Any, fake: FakeInstance) -> None:
    # Enter was passed over without a word while an answer was written, and for a moment after its last word as well.
    fake.add("guide.md", TEXT.encode())
    fake.told.delay_s = 0.3
    first = ask(page, "How long is the bridge?")
    first.get_by_text("Your document").wait_for()
    page.get_by_label("Your question").fill("When was it opened?")
    page.get_by_role("button", name="Send").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_text("When was it opened?").wait_for()
    assert page.get_by_label("Your question").input_value() == ""
    page.get_by_role("log").get_by_text("Waiting for its turn").wait_for()
    fake.told.delay_s = 0.02
    page.get_by_role("button", name="Stop").click()
    answers = page.get_by_role("log").get_by_role("article")
    answers.first.get_by_text("Stopped.").wait_for()
    answers.nth(1).get_by_role("button", name="Answer again").wait_for()
    assert answers.nth(1).get_by_text("212 metres long").count()
    assert not answers.nth(1).get_by_text("Stopped.").count(), "what is stopped is the answer that was being written"


def test_an_error_is_said_in_words_with_what_to_do(page: Any, fake: FakeInstance) -> None:
    fake.told.fail = ("engine_failed", "the engine 'llama_cpp' failed: out of memory")
    answer = ask(page, "How long is the bridge?")
    answer.get_by_role("alert").get_by_text("The model failed on this answer.").wait_for()
    answer.get_by_role("button", name="Answer again").wait_for()


def test_a_refused_file_says_why_and_is_unlocked_by_its_password(page: Any, fake: FakeInstance, tmp_path: Path) -> None:
    for name in ("locked.md", "open.md"):
        (tmp_path / name).write_text(TEXT)
    (tmp_path / "empty.md").write_text("")
    page.get_by_role("button", name="Documents").first.click()
    page.get_by_test_id("files").set_input_files([tmp_path / name for name in ("locked.md", "open.md", "empty.md")])
    page.get_by_text("The file is protected by a password.").wait_for()
    page.get_by_text("1 empty, hidden or unreadable file was left out.").wait_for()
    rows = page.get_by_role("list", name="Documents of this project").get_by_role("listitem")
    rows.filter(has_text="open.md").get_by_text("Indexed", exact=True).wait_for()
    page.get_by_label("Password of the file").fill("secret")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("The file is protected by a password.").wait_for(state="detached")
    rows.filter(has_text="opened.md").get_by_text("Indexed", exact=True).wait_for()


def test_a_server_that_went_away_is_said_and_recovered_from(page: Any, fake: FakeInstance) -> None:
    fake.add("guide.md", TEXT.encode())
    page.route("**/api/**", lambda route: route.abort())
    page.reload()
    page.get_by_text("Perenne can't be reached. Trying again").wait_for()
    page.unroute("**/api/**")
    page.get_by_text("Perenne can't be reached. Trying again").wait_for(state="detached")
    page.get_by_label("Your question").wait_for()


def test_nothing_in_an_answer_makes_the_browser_fetch_or_run_anything(page: Any, fake: FakeInstance) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    evil = "Look ![x](http://127.0.0.2/spy.png) <img src=http://127.0.0.2/spy2> [a](javascript:alert(1)) now, please."
    fake.add("evil.md", evil.encode())
    answer = ask(page, "What does it say?")
    answer.get_by_role("button", name="Answer again").wait_for()
    answer.get_by_text("Look").first.wait_for()
    assert [url for url in asked if not url.startswith(fake.address)] == []
    assert answer.locator("img, a[href^='javascript']").count() == 0


def lines_job(fake: FakeInstance) -> dict[str, Any]:
    job = fake.jobs["job_lines"] = {
        "id": "job_lines", "kind": "jsonl", "state": "running", "document_id": None, "filename": "orla.jsonl", "done": 3, "total": 8,
        "unit": "bytes", "reason": None, "code": None, "details": {}, "created_at": 1.0,
    }  # fmt: skip
    return job


def test_a_file_of_json_lines_can_be_cancelled_and_tried_again(page: Any, fake: FakeInstance) -> None:
    """Its row had no button at all: only the command line could end it, and a cancelled one was gone from the page."""
    job = lines_job(fake)
    page.get_by_role("button", name="Documents").first.click()
    page.get_by_role("button", name="Cancel orla.jsonl").click()
    row = page.get_by_role("list", name="Documents of this project").get_by_role("listitem").filter(has_text="orla")
    row.get_by_text("Cancelled.").wait_for()
    row.get_by_role("button", name="Try again").click()
    row.get_by_role("progressbar").wait_for()
    assert job["state"] == "running"


def test_a_reason_is_said_in_the_readers_language_with_its_figures(new_page: Any, fake: FakeInstance) -> None:
    """The page made its words of the server's English sentence, by pattern, and left the figures in it."""
    job = lines_job(fake)
    why = {"code": "no_documents", "reason": "none of its 12,345 lines holds a document", "details": {"lines": 12_345}}
    job |= {"state": "refused", **why}
    page = new_page(locale="es-ES")
    page.goto(f"{fake.address}/?view=documents&state=nonsense#key={KEY}")
    page.get_by_text("Ninguna de las 12.345 líneas de este archivo es un documento.").wait_for()
    page.get_by_role("button", name="Todos", pressed=True).wait_for()  # a state that is none filters nothing


def test_the_menu_of_a_narrow_window_keeps_the_focus_and_gives_it_back(new_page: Any, fake: FakeInstance) -> None:
    """Tab went on behind the menu, to what it hides, and Escape left the focus nowhere."""
    page = new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{fake.address}/#key={KEY}")
    page.get_by_role("button", name="Open menu").click()
    inside = "document.activeElement.closest('nav') !== null || document.activeElement === document.body"
    for _ in range(20):
        page.keyboard.press("Tab")
        assert page.evaluate(inside), page.evaluate("document.activeElement.outerHTML")
    page.get_by_role("navigation").get_by_role("button", name="Search").focus()
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Open menu'")
    page.get_by_label("Your question").fill("x")  # what the menu hid is there again


def test_a_chat_that_could_not_be_deleted_says_so(page: Any, fake: FakeInstance) -> None:
    """It stayed without a word."""
    fake.ask("cnv_1", "How long is it?")
    page.reload()
    row = page.get_by_role("listitem").filter(has_text="How long is it?")
    row.get_by_role("button", name="Delete “How long is it?”").click()
    row.get_by_role("button", name="Delete?").click()
    row.get_by_role("alert").get_by_text("It is not there any more.").wait_for()


def test_a_deletion_taken_back_by_escape_leaves_the_focus_where_it_was(page: Any, fake: FakeInstance) -> None:
    fake.add("guide.md", TEXT.encode())
    page.get_by_role("button", name="Documents").first.click()
    page.get_by_role("button", name="Delete guide.md").click()
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Delete guide.md'")


def test_another_key_from_another_tab_sees_nothing_of_the_first(page: Any, fake: FakeInstance) -> None:
    """What the first was told stayed in the page's memory and was shown to the second."""
    page.get_by_label("Project", exact=True).get_by_text("default").wait_for(state="attached")
    page.evaluate(f"localStorage.setItem('perenne.key', '{OTHER_KEY}'); dispatchEvent(new Event('storage'))")
    page.get_by_label("Project", exact=True).get_by_text("theirs").wait_for(state="attached", timeout=4_000)
    assert page.get_by_text("default").count() == 0


def test_a_key_that_was_revoked_while_an_answer_is_written_leads_to_the_sign_in(page: Any, fake: FakeInstance) -> None:
    """The stream of the answer said only that the key is no longer good, beside a page that stayed open."""
    fake.add("guide.md", TEXT.encode())
    fake.told.break_after, fake.told.delay_s = 2, 0.5  # it is still written when the stream is asked for again
    page.route("**/events?after=2", lambda route: route.fulfill(status=401, body="{}"))
    page.get_by_label("Your question").fill("How long is the bridge?")
    page.keyboard.press("Enter")
    page.get_by_label("Access key").wait_for(timeout=4_000)
