"""What a line of a large file costs the writer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from actors.store import documents
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    house = StoreHouse(tmp_path)
    yield house
    house.close()


def test_a_name_and_a_files_bytes_are_looked_up_without_a_walk_through_all_documents(house: StoreHouse) -> None:
    # The oldest of a name was asked for in the order of time, and SQLite walked through every document of the user in that order: of
    # 100,000 JSON lines the last cost sixty times what the thousandth did.
    steps = 0

    def asked(conn: Connection) -> int:
        nonlocal steps
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        driver: Any = conn.connection.dbapi_connection
        driver.set_progress_handler(step, 1)
        try:
            assert documents.by_external_id(conn, "ana", "prj", "line 1") is None
            assert documents.by_blob(conn, "ana", "prj", "bytes of none") == []
        finally:
            driver.set_progress_handler(None, 0)
        return steps

    house.system(c.CreateUser, new_user_id="ana", name="Ana")
    house.do(c.CreateProject, project_id="prj", name="prj")
    before = house.ask(asked)
    for number in range(50):
        house.do(
            c.AddDocument, project_id="prj", document_id=f"doc {number}", job_id=f"job {number}", title="A document",
            external_id=f"line 0{number}", blob_hash=f"bytes {number}", size_bytes=1,
        )  # fmt: skip
    assert house.ask(asked) < before + 50
