"""The bell: what fires is counted, told, listed, and quietened, as it happens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.fake_instance import KEY, FakeInstance
from tests.e2e.test_main_job import check_axe
from tests.e2e.waiting import standing, ticking
from tests.live.running import RunningInstance


def opened(new_page: Any, fake: FakeInstance, clock: bool = False) -> Any:
    fake.feed.stands = True
    page = new_page()
    if clock:
        page.clock.install()
    page.goto(f"{fake.address}/#key={KEY}")
    bell(page).wait_for()
    standing(fake, page)
    return page


def bell(page: Any, said: str = "Alerts:") -> Any:
    return page.get_by_role("button", name=said)


def rows(page: Any, of: str = "Now") -> Any:
    return page.get_by_role("dialog").get_by_role("list", name=of).get_by_role("listitem")


def act(row: Any, name: str) -> None:
    row.get_by_role("button", name=name).click()


@pytest.fixture
def alarmed(dist: Path, running: RunningInstance) -> Iterator[tuple[RunningInstance, httpx.Client]]:
    """A real one whose disk is short by its own rules, and a key for it; nothing is silenced there before and after."""

    def clear(http: httpx.Client) -> None:
        for silence in http.get("/api/silences").json():
            http.delete(f"/api/silences/{silence['id']}").raise_for_status()

    with running.client() as http:
        clear(http)
        yield running, http
        clear(http)


def test_a_real_alert_rings_is_silenced_and_heard_again_as_it_happens(
    new_page: Any, alarmed: tuple[RunningInstance, httpx.Client]
) -> None:
    instance, http = alarmed
    page = new_page()
    page.goto(f"{instance.address}/#key={instance.key}")
    with page.expect_response("**/api/alerts?*"):
        bell(page).wait_for()
    low = {"timeout": 60_000}
    expect(bell(page, "the worst: ")).to_have_accessible_name("Alerts: 1 now, the worst: warning", **low)

    # Somebody else silences it: this page's bell is quiet, and rings again when the silence is ended here.
    http.post("/api/silences", json={"events": ["disk.low"], "for_s": 3_600, "reason": "moving files"}).raise_for_status()
    bell(page, "Alerts: nothing is wrong").click()
    row = rows(page).filter(has_text="The disk is filling up")
    row.get_by_text("Silenced until").wait_for()
    row.get_by_text("What to do:").wait_for()
    act(row, "End the silence")
    row.get_by_role("button", name="Acknowledge").wait_for()
    assert http.get("/api/silences").json() == []

    act(row, "Silence 1 day")
    row.get_by_text("Silenced until").wait_for()
    (silence,) = http.get("/api/silences").json()
    assert (silence["events"], silence["labels"]) == (["disk.low"], {"rule": "disk_low"})
    assert silence["ends_at"] - silence["created_at"] == 86_400
    act(row, "End the silence")
    act(row, "Acknowledge")
    row.get_by_text("Acknowledged by ").wait_for()
    (alert,) = [each for each in http.get("/api/alerts").json()["items"] if each["event"] == "disk.low"]
    assert alert["acknowledged_at"] is not None

    http.post("/api/alert-tests").raise_for_status()
    rows(page, "Ended lately").filter(has_text="This is a test").first.wait_for()
    page.keyboard.press("Escape")
    expect(bell(page, "Alerts: 1 now")).to_be_focused()


def test_the_bell_counts_what_fires_by_the_worst(new_page: Any, fake: FakeInstance) -> None:
    page = opened(new_page, fake)
    expect(bell(page)).to_have_accessible_name("Alerts: nothing is wrong")
    low = fake.alerts.fire("The disk is filling up", "warning")
    bell(page, "Alerts: 1 now, the worst: warning").wait_for()
    full = fake.alerts.fire("The disk is full")
    bell(page, "Alerts: 2 now, the worst: critical").get_by_text("2", exact=True).wait_for()
    fake.alerts.change(full, inhibited_by=low["id"])
    bell(page, "Alerts: 1 now, the worst: warning").wait_for()
    fake.alerts.end(low)
    fake.alerts.end(full)
    bell(page, "Alerts: nothing is wrong").wait_for()


def test_while_the_socket_stands_alerts_are_not_asked_for_by_the_clock(new_page: Any, fake: FakeInstance) -> None:
    page = opened(new_page, fake, clock=True)
    asked = fake.asked.count("GET alerts")
    for count in range(1, 5):
        page.clock.run_for(16_000)  # by the clock they would be asked for every 15 s
        fake.alerts.fire("The disk is filling up", "warning")
        bell(page, f"Alerts: {count} now").wait_for()
    assert fake.asked.count("GET alerts") - asked <= 5, "once for each piece of news, and what was under way"


def test_what_was_missed_during_a_break_is_told_after_it(new_page: Any, fake: FakeInstance) -> None:
    page = opened(new_page, fake)
    fake.feed.stands = False
    fake.feed.cut()
    fake.alerts.fire("The disk is full")
    fake.feed.stands = True
    page.get_by_role("alert").get_by_text("The disk is full").wait_for()
    bell(page, "Alerts: 1 now").wait_for()


def test_without_a_socket_alerts_are_asked_for_by_the_clock(new_page: Any, fake: FakeInstance) -> None:
    page = new_page()
    page.clock.install()
    page.goto(f"{fake.address}/#key={KEY}")
    bell(page).wait_for()
    fake.alerts.fire("The disk is full")
    ticking(page, bell(page, "Alerts: 1 now"))


def test_only_what_is_new_and_critical_is_told_over_the_page(new_page: Any, fake: FakeInstance) -> None:
    fake.alerts.fire("The last backup failed")
    page = opened(new_page, fake)
    bell(page, "Alerts: 1 now").wait_for()
    fake.alerts.fire("The disk is filling up", "warning")
    bell(page, "Alerts: 2 now").wait_for()
    toast = page.get_by_role("alert")
    expect(toast.filter(has_text="New and critical")).to_have_count(0)

    first = fake.alerts.fire("The disk is full")
    toast.get_by_text("The disk is full").wait_for()
    fake.alerts.fire("The database does not answer")
    toast.get_by_text("and 1 more").wait_for()
    fake.alerts.end(first)
    toast.get_by_text("The database does not answer").wait_for()
    expect(toast.get_by_text("The disk is full")).to_have_count(0)
    toast.get_by_role("button", name="Show").click()
    rows(page).nth(2).wait_for()
    expect(toast.filter(has_text="New and critical")).to_have_count(0)
    fake.alerts.fire("RunHost cannot stay up and is held")
    rows(page).first.get_by_text("RunHost cannot stay up and is held").wait_for()
    page.keyboard.press("Escape")
    expect(bell(page)).to_be_focused()
    expect(toast.filter(has_text="New and critical")).to_have_count(0)

    fake.alerts.fire("The Supervisor does not answer")
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast.filter(has_text="New and critical")).to_have_count(0)


def test_the_keyboard_alone_opens_acknowledges_silences_and_closes(new_page: Any, fake: FakeInstance) -> None:
    alert = fake.alerts.fire("The disk is full")
    fake.alerts.fire("The last backup failed", "warning", "backup.failed")
    page = opened(new_page, fake)
    bell(page).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Alerts")).to_be_focused()
    row = rows(page).filter(has_text="The disk is full")
    acknowledge = row.get_by_role("button", name="Acknowledge: The disk is full")
    for wanted in (page.get_by_role("button", name="Close"), page.get_by_role("region", name="Alerts"), acknowledge):
        page.keyboard.press("Tab")
        expect(wanted).to_be_focused()
    page.keyboard.press("Enter")
    row.get_by_text("Acknowledged by my laptop").wait_for()
    expect(row).to_be_focused()
    page.get_by_role("dialog").get_by_role("status").get_by_text("Acknowledged: The disk is full").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    row.get_by_text("Silenced until").wait_for()
    assert [each["labels"] for each in fake.alerts.silences.values()] == [alert["labels"]]

    for _ in range(12):  # nothing behind it is reached
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    expect(bell(page)).to_be_focused()
    bell(page).click()
    page.mouse.click(1_200, 700)  # beside it
    page.get_by_role("dialog").wait_for(state="detached")


def test_a_silence_of_nothing_that_fires_is_listed_and_ended(new_page: Any, fake: FakeInstance) -> None:
    fake.alerts.silence({"events": ["backup.*"], "labels": {}, "for_s": 600, "reason": "moving house"})
    page = opened(new_page, fake)
    bell(page).click()
    row = rows(page, "Kept quiet").filter(has_text="backup.*")
    row.get_by_text("moving house").wait_for()
    act(row, "End the silence: backup.*")
    expect(rows(page, "Kept quiet")).to_have_count(0)
    expect(page.get_by_role("heading", name="Alerts")).to_be_focused()
    page.get_by_text("Nothing is wrong.").wait_for()
    page.get_by_text("perenne channels add").wait_for()


def test_what_can_not_be_done_is_said_beside_it(new_page: Any, fake: FakeInstance) -> None:
    alert = fake.alerts.fire("The disk is full")
    page = opened(new_page, fake)
    bell(page).click()
    page.route("**/acknowledge", lambda route: route.fulfill(status=403, body="{}"))
    act(rows(page).first, "Acknowledge")
    rows(page).first.get_by_role("alert").get_by_text("This key may not do that.").wait_for()
    assert alert["acknowledged_at"] is None


def test_who_may_not_see_alerts_is_shown_no_bell(new_page: Any, fake: FakeInstance) -> None:
    fake.owner, fake.feed.stands = False, True
    page = new_page()
    with page.expect_response("**/api/alerts?*"):
        page.goto(f"{fake.address}/#key={KEY}")
    standing(fake, page)
    asked = fake.asked.count("GET alerts")
    fake.alerts.fire("The disk is full")
    fake.converse("cnv_1", "Told after it")
    page.get_by_text("Told after it").wait_for()
    assert page.get_by_text("The disk is full").count() == bell(page).count() == 0
    assert fake.asked.count("GET alerts") == asked, "nor asked for again"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "language"), [(1_280, "en-GB"), (390, "es-ES")])
def test_it_is_shown_as_it_should_be_and_axe_finds_nothing(
    new_page: Any, fake: FakeInstance, screens: Path, theme: str, width: int, language: str
) -> None:
    words = {
        "en-GB": ("Alerts", "End the silence", "Send a test"),
        "es-ES": ("Avisos", "Quitar el silencio", "Enviar una prueba"),
    }
    title, unsilence, send = words[language]
    fake.alerts.channel("phone", "HTTP 503: the sink is away")
    fake.alerts.channel("desk")
    fake.alerts.end(fake.alerts.fire("The last backup failed"))
    kept = fake.alerts.fire("The disk is filling up", "warning", "disk.low")
    fake.alerts.silence({"events": ["disk.low"], "labels": kept["labels"], "for_s": 3_600})
    fake.alerts.fire("RunHost works in part only", "info", acknowledged_at=1.8e9, acknowledged_by="my laptop")
    fake.feed.stands = True
    page = new_page(color_scheme=theme, viewport={"width": width, "height": 844}, locale=language)
    page.goto(f"{fake.address}/#key={KEY}")
    standing(fake, page)
    ring = page.get_by_role("button", name=f"{title}:")
    ring.wait_for()
    fake.alerts.fire("The disk is full", text="Nothing new is taken in; reading and searching go on. 212 MB are free.")
    page.get_by_role("alert").get_by_text("The disk is full").wait_for()
    check_axe(page)
    page.screenshot(path=screens / f"alert-toast-{width}-{theme}.png")
    ring.click()
    panel = page.get_by_role("dialog", name=title)
    panel.get_by_role("button", name=unsilence).wait_for()
    panel.get_by_role("button", name=send).click()
    panel.get_by_text("This is a test").wait_for()
    check_axe(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
    page.screenshot(path=screens / f"alerts-{width}-{theme}.png")
