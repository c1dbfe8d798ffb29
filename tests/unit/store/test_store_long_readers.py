"""A reader that holds on to its moment for long, as a backup does. It once made every transaction of the writer wait for 5 s, from 256 MB
of log on."""

import time
from pathlib import Path

import pytest

from actors.store import checkpoint
from actors.store.database import connect_sqlite
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse


def test_writing_goes_on_beside_a_reader_that_keeps_the_log_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "TRUNCATE_BYTES", 1)
    house = StoreHouse(tmp_path).people()
    reader = connect_sqlite(house.path, create=False, pragmas=("query_only=ON",))
    try:
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM projects").fetchone()
        began = time.monotonic()
        for n in range(20):
            house.do(c.CreateProject, project_id=f"p{n}", name=f"p{n}")
        assert time.monotonic() - began < 4.0
        assert reader.execute("SELECT count(*) FROM projects").fetchone() == before
    finally:
        reader.close()
        house.close()
