"""A browser, and something for it to open: a running instance, or one that does what it is told."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.e2e.fake_instance import KEY, FakeInstance
from tests.live.running import RunningInstance

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "web" / "dist"
SCREENS = ROOT / "build" / "screens"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def _missing(what: str) -> NoReturn:
    """A skip on a laptop, an error in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@dataclass(frozen=True)
class Instance:
    address: str
    key: str


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("the Python package playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        _missing("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Any) -> Iterator[Any]:
    """Pages of fresh visitors; any error in a page's console fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def make(**options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture(scope="session")
def dist() -> Path:
    if not (DIST / "index.html").is_file():
        _missing("the page is not built: npm ci && npm run build, in web/")
    return DIST


@pytest.fixture
def fake(dist: Path) -> Iterator[FakeInstance]:
    instance = FakeInstance(dist)
    instance.start()
    yield instance
    instance.stop()


def _given() -> Instance | None:
    """The instance that PERENNE_E2E_ADDRESS and PERENNE_E2E_KEY name, if they do."""
    address, key = os.environ.get("PERENNE_E2E_ADDRESS"), os.environ.get("PERENNE_E2E_KEY")
    return Instance(address.rstrip("/"), key) if address and key else None


@pytest.fixture(scope="session")
def running() -> Iterator[RunningInstance]:
    """One of the smallest profile, started here and ended after the last test. By its own rules its disk is always short: an alert."""
    held = RunningInstance()
    (held.home / "alerts.yaml").write_text("disk_low: {below: 1.0e+15, clear_above: 1.0e+15, for_s: 0, keep_s: 0}\n")
    try:
        yield held.start()
    finally:
        held.close()


@pytest.fixture(scope="session")
def instance(dist: Path, chromium: Any, request: pytest.FixtureRequest) -> Instance:
    """A real one: the one given, else the one that is started here."""
    if given := _given():
        return given
    held: RunningInstance = request.getfixturevalue("running")
    return Instance(held.address, held.key)


@pytest.fixture
def citing(request: pytest.FixtureRequest) -> Instance:
    """One whose answers cite for certain: the one given, else the told one. The smallest model may decline instead."""
    if given := _given():
        return given
    return Instance(request.getfixturevalue("fake").address, KEY)


@pytest.fixture
def screens() -> Path:
    SCREENS.mkdir(parents=True, exist_ok=True)
    return SCREENS
