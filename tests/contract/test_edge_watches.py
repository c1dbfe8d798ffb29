"""Watched folders over HTTP: the owner's alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perenne import names
from tests.contract.edge_house import House, house_in


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as made:
        yield made


async def test_a_folder_is_added_listed_and_removed_by_an_admin_only(house: House) -> None:
    body = {"path": "/data/papers", "project": "default", "ignore": ["*.bak"]}
    for key in ("reader", "writer"):
        async with house.http(key) as http:
            for answer in (await http.post("/api/watches", json=body), await http.get("/api/watches")):
                assert answer.status_code == 403, key
    async with house.http() as http:
        headers = {"Idempotency-Key": "w1"}
        made = await http.post("/api/watches", json=body, headers=headers)
        assert made.status_code == 201, made.text
        assert (await http.post("/api/watches", json=body, headers=headers)).json() == made.json()
        assert (await http.post("/api/watches", json=body)).status_code == 409
        assert (await http.post("/api/watches", json=body | {"path": "papers"})).status_code == 400
        assert (await http.post("/api/watches", json=body | {"project": "none"})).status_code == 404
        (state,) = (await http.get("/api/watches")).json()["items"]
        assert (state["watch"], state["phase"]) == (made.json(), "starting")
        house.directory.kill(names.INGEST_HOST)
        (state,) = (await http.get("/api/watches")).json()["items"]
        assert state["reason"]
        gone = await http.delete(f"/api/watches/{made.json()['id']}")
        assert gone.status_code == 200
        assert (await http.get("/api/watches")).json()["items"] == []
