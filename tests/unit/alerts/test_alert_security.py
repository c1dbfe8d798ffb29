"""Keys, the address to listen on, and another database: what bears on who may come in."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.alerts.security import edge_signal
from perenne.messages import commands as c
from perenne.settings import load_settings
from tests.unit.alerts.test_alert_watch import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    yield made
    made.house.close()


def make_key(instance: Instance, name: str, *scopes: str) -> None:
    fields: dict[str, Any] = {"key_id": name, "for_user_id": c.OWNER, "label": name, "scopes": scopes}
    instance.house.system(c.CreateKey, key_hash=name.encode().hex().ljust(64, "0"), **fields)


async def test_each_key_is_told_once_when_it_is_made_and_when_it_is_revoked(instance: Instance) -> None:
    make_key(instance, "first", "read", "write", "admin")  # the one that the first boot makes
    await instance.pass_time(120)
    assert instance.told() == []
    make_key(instance, "reader", "read")
    make_key(instance, "other", "read", "admin")
    await instance.pass_time(120)
    assert "reader" in instance.open()["key_created/reader"].text
    assert instance.open()["key_created/other"].inhibited_by == instance.open()["key_admin_created/other"].id
    assert sorted(instance.told()) == [("A key that may do everything was made", "firing"), ("A key was made", "firing")]
    instance.house.do(c.RevokeKey, user_id=c.OWNER, key_id="reader")
    instance.rise()
    await instance.pass_time(120)
    assert instance.told()[2:] == [("A key was revoked", "firing")]
    await instance.pass_time(4_000, step_s=30.0)
    assert instance.open() == {}


async def test_another_database_than_before_is_told_and_the_first_one_is_not(instance: Instance) -> None:
    await instance.pass_time(60)
    assert instance.told() == []
    with contextlib.closing(sqlite3.connect(instance.house.path)) as connection, connection:
        connection.execute("UPDATE meta SET value = 'another' WHERE name = 'origin'")  # as a restore does
    instance.rise()
    await instance.pass_time(60)
    instance.rise()
    await instance.pass_time(60)
    assert instance.told() == [("The database is another than before", "firing")]


@pytest.mark.parametrize(
    ("host", "behind_proxy", "value"), [("127.0.0.1", "", 0), ("::1", "1", 0), ("0.0.0.0", "", 2), ("192.168.1.2", "1", 1)]
)
def test_who_can_reach_the_edge(tmp_path: Path, host: str, behind_proxy: str, value: float) -> None:
    settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_HOST": host, "PERENNE_BEHIND_TLS_PROXY": behind_proxy})
    assert edge_signal(settings).value == value
