"""A large file on the page: in pieces, gone on with after the page was closed amid it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perenne import names
from tests.contract.edge_house import secret
from tests.contract.house_thread import HouseThread, house_thread

DATA = random.Random(5).randbytes((40 << 20) + 9)
OWNER = names.blob_store("pc1")


@pytest.fixture
def house(tmp_path: Path, dist: Path) -> Iterator[HouseThread]:
    with house_thread(tmp_path / "home", dist=dist) as house:
        yield house


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(DATA)
    return path


def offsets(house: HouseThread) -> list[int]:
    calls = list(house.house.directory.calls)
    return [asked["offset"] for name, method, asked in calls if (name, method) == (OWNER, "write_upload")]


def until(page: Any, check: Any, within_s: float = 30) -> None:
    for _ in range(int(within_s / 0.05)):
        if check():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come true")


def sizes(page: Any, house: HouseThread) -> list[int]:
    answer = page.request.get(f"{house.address}/api/documents", headers={"Authorization": f"Bearer {secret('owner')}"})
    return [document["size_bytes"] for document in answer.json()["items"]]


def opened(new_page: Any, house: HouseThread, **options: Any) -> Any:
    page = new_page(**options)
    page.goto(f"{house.address}/#key={secret('owner')}")
    page.goto(f"{house.address}/?view=documents")
    return page


def test_a_large_file_goes_on_after_the_page_was_closed(new_page: Any, house: HouseThread, path: Path) -> None:
    page = opened(new_page, house)
    page.get_by_test_id("files").set_input_files(path)
    until(page, lambda: max(offsets(house), default=0) >= 17 << 20)
    page.goto("about:blank")  # closed amid it
    page.wait_for_timeout(500)
    before = len(offsets(house))
    assert sizes(page, house) == []
    page.goto(f"{house.address}/?view=documents")
    page.get_by_test_id("files").set_input_files(path)
    until(page, lambda: len(offsets(house)) > before)
    assert min(offsets(house)[before:]) >= 16 << 20
    until(page, lambda: sizes(page, house) == [len(DATA)])
