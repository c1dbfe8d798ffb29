"""Folders that are watched, on the page."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.fake_instance import KEY, FakeInstance
from tests.e2e.test_main_job import check_axe
from tests.live.running import mark_of_run


def folders(page: Any, name: str = "Watched folders of this project") -> Any:
    return page.get_by_role("list", name=name).get_by_role("listitem")


@pytest.fixture
def page(new_page: Any, fake: FakeInstance) -> Any:
    page = new_page()
    page.goto(f"{fake.address}/?view=documents#key={KEY}")
    page.get_by_role("button", name="Watch a folder").wait_for()
    return page


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")


def test_a_folder_is_watched_looked_at_and_watched_no_more(new_page: Any, instance: Any, tmp_path: Path) -> None:
    folder = tmp_path / f"papers-{mark_of_run()}"
    folder.mkdir()
    (folder / "bridge.md").write_text("The bridge at Orla is 212 metres long.\n")
    page = new_page()
    page.goto(f"{instance.address}/?view=documents#key={instance.key}")
    page.get_by_role("button", name="Watch a folder").click()
    field = page.get_by_label("Whole path of the folder")
    field.fill(str(folder / "none"))
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("This folder can't be watched.").wait_for()
    field.fill(str(folder))
    page.keyboard.press("Enter")
    row = folders(page).filter(has_text=folder.name)
    row.get_by_text("Watched", exact=True).wait_for(timeout=60_000)
    row.get_by_text("1 file").wait_for(timeout=60_000)
    row.get_by_text("last look").wait_for()
    page.get_by_role("list", name="Documents of this project").get_by_text("bridge.md").wait_for(timeout=60_000)
    row.get_by_role("button", name=f"Stop watching {folder}").click()
    row.get_by_role("button", name="Stop watching?").click()
    expect(row).to_have_count(0)
    page.get_by_role("list", name="Documents of this project").get_by_text("bridge.md").wait_for()


def test_the_keyboard_alone_adds_a_folder_and_ends_it(page: Any, fake: FakeInstance) -> None:
    page.get_by_role("button", name="Watch a folder").focus()
    page.keyboard.press("Enter")
    page.locator("input:focus").wait_for()
    page.keyboard.press("Escape")
    page.locator("input:focus").wait_for(state="detached")
    assert focused(page) == "Watch a folder"
    page.keyboard.press("Enter")
    page.locator("input:focus").wait_for()
    page.keyboard.type("/data/papers")
    page.keyboard.press("Enter")
    folders(page).get_by_text("/data/papers").wait_for()
    page.get_by_role("status").get_by_text("/data/papers is watched now.").wait_for()
    expect(page.get_by_role("button", name="Watch a folder")).to_be_focused()

    page.keyboard.press("Tab")
    assert focused(page) == "Stop watching /data/papers"
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")  # thought better of it
    expect(page.get_by_role("button", name="Stop watching /data/papers")).to_be_focused()
    assert len(fake.watches) == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("/data/papers is watched no more").wait_for()
    expect(page.get_by_role("button", name="Watch a folder")).to_be_focused()
    assert fake.watches == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_how_it_stands_with_a_folder_is_said_and_axe_finds_nothing(
    new_page: Any, fake: FakeInstance, screens: Path, theme: str
) -> None:
    fake.watch("/home/ana/papers")
    away, empty = fake.watch("/home/ana/gone"), fake.watch("/mnt/disk/" + "a-long-way-down/" * 6 + "papers")
    away |= {"phase": "missing", "reason": "No such file or directory", "skipped": 2, "files": 1_234}
    empty |= {"phase": "emptied", "files": 0}
    page = new_page(color_scheme=theme, viewport={"width": 390, "height": 844})
    page.goto(f"{fake.address}/?view=documents#key={KEY}")
    rows = folders(page)
    rows.nth(1).get_by_text("Not there", exact=True).wait_for()
    rows.nth(1).get_by_text("1,234 files · 2 left out").wait_for()
    rows.nth(1).get_by_text("No such file or directory").wait_for()
    rows.nth(2).get_by_text("Empty now", exact=True).wait_for()
    page.get_by_role("button", name="Watch a folder").click()
    check_axe(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
    page.screenshot(path=screens / f"folders-{theme}.png")


def test_a_folder_that_is_refused_says_why_in_the_readers_language(new_page: Any, fake: FakeInstance) -> None:
    fake.watch("/data/papers")
    page = new_page(locale="es-ES")
    page.goto(f"{fake.address}/?view=documents#key={KEY}")
    page.get_by_role("button", name="Vigilar una carpeta").click()
    field = page.get_by_label("Ruta completa de la carpeta")
    field.fill("papers")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("Esta carpeta no se puede vigilar.").wait_for()
    field.fill("/data/papers")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("Esta carpeta ya está vigilada en este proyecto.").wait_for()
    assert field.input_value() == "/data/papers"
    folders(page, "Carpetas vigiladas de este proyecto").get_by_text("3 archivos").wait_for()


def test_who_may_not_see_them_is_shown_nothing_of_them(new_page: Any, fake: FakeInstance) -> None:
    fake.owner = False
    page = new_page()
    with page.expect_response("**/api/watches"):
        page.goto(f"{fake.address}/?view=documents#key={KEY}")
    page.get_by_text("No documents in this project yet.").wait_for()
    assert page.get_by_text("Watched folders").count() == 0
    assert page.get_by_role("alert").count() == 0


def test_nothing_is_cut_off_on_a_telephone(new_page: Any, fake: FakeInstance) -> None:
    # A folder's path was broken after each few letters, and the button beside a file's password lay on its row's edge.
    fake.add("locked.md", b"x")
    fake.watch("/home/ana/papers")
    page = new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{fake.address}/?view=documents#key={KEY}")
    unlock = page.get_by_role("button", name="Unlock")
    unlock.wait_for()
    row = page.get_by_role("list", name="Documents of this project").get_by_role("listitem").bounding_box()
    button = unlock.bounding_box()
    assert button["x"] + button["width"] <= row["x"] + row["width"]
    page.get_by_role("button", name="Stop watching").click()
    path = folders(page).get_by_text("/home/ana/papers")
    assert path.evaluate("(e) => e.getClientRects().length === 1 && e.offsetHeight < 30"), "the path is on one line"
