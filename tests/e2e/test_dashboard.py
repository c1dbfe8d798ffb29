"""Ray's dashboard, as `perenne dashboard` leads to it."""

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.live.running import RunningInstance


def test_the_dashboard_opens_with_the_printed_token_and_shows_the_actors(
    running: RunningInstance, new_page: Any, screens: Path
) -> None:
    said = running.command("dashboard")
    assert said.returncode == 0, said.stderr
    facts = dict(line.split(": ", 1) for line in said.stdout.splitlines() if line.startswith(("dashboard: ", "token: ")))
    page = new_page()
    elsewhere: list[str] = []
    page.on(
        "request", lambda asked: None if asked.url.startswith((facts["dashboard"], "data:")) else elsewhere.append(asked.url)
    )
    page.goto(f"{facts['dashboard']}/#/actors")
    token = page.locator("input[type=password]")
    token.fill("not the token")
    page.get_by_role("button", name="Submit").click()
    expect(token).to_be_visible()
    expect(page.get_by_text("StoreWriter", exact=True)).to_have_count(0)
    token.fill(facts["token"])
    page.get_by_role("button", name="Submit").click()
    expect(token).to_have_count(0)
    page.goto(f"{facts['dashboard']}/#/actors")
    page.get_by_label("Name", exact=True).fill("StoreWriter")
    expect(page.get_by_role("cell", name="StoreWriter", exact=True).first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("ALIVE", exact=True).first).to_be_visible()
    page.screenshot(path=screens / "dashboard.png")
    assert elsewhere == [], "the page asks nobody else"
