"""Alerts under `/api`: listed, acknowledged, silenced, tried; and no secret of a channel comes by there."""

from perenne.ids import new_id
from perenne.messages import alert_commands as a
from perenne.messages.commands import OWNER, SYSTEM_USER
from tests.contract.edge_house import House

SECRET = "https://hooks.example.org/services/T0/very-secret-token"


async def furnish(house: House) -> None:
    def ids(user_id: str) -> dict[str, str]:
        return {"command_id": new_id("cmd"), "user_id": user_id}

    channel = {
        "name": "hook",
        "kind": "webhook",
        "url": SECRET,
        "address": "https://hooks.example.org/…",
        "signing_secret": "whsec_secret",
    }
    await house.store.write(a.CreateChannel(**ids(OWNER), channel_id="chn_1", **channel))
    await house.store.write(a.CreateSubscriber(**ids(OWNER), subscriber_id="sub_1", name="hook", channel_id="chn_1"))
    alert = {"fingerprint": "disk_full", "severity": "critical", "event": "disk.full", "title": "The disk is full"}
    await house.store.write(a.RaiseAlert(**ids(SYSTEM_USER), alert_id="alr_1", **alert))


async def test_alerts_are_listed_acknowledged_silenced_and_tried_over_http(house: House) -> None:
    await furnish(house)
    async with house.http() as http:
        page = (await http.get("/api/alerts", params={"state": "firing"})).json()
        assert [(each["id"], each["title"]) for each in page["items"]] == [("alr_1", "The disk is full")]
        seen = (await http.post("/api/alerts/alr_1/acknowledge")).json()
        assert seen["acknowledged_by"] == "owner"
        body = {"events": ["disk.*"], "for_s": 600, "reason": "moving files"}
        headers = {"Idempotency-Key": "an old program's own"}
        made = [(await http.post("/api/silences", json=body, headers=headers)) for _ in range(2)]
        assert [each.status_code for each in made] == [201, 201]
        silence = made[0].json()
        assert made[1].json() == silence
        assert silence["ends_at"] - silence["created_at"] == 600
        assert (await http.get("/api/alerts/alr_1")).json()["silenced_by"] == silence["id"]
        assert [each["id"] for each in (await http.get("/api/silences")).json()] == [silence["id"]]
        assert (await http.delete(f"/api/silences/{silence['id']}")).status_code == 200
        assert (await http.get("/api/alerts/alr_1")).json()["silenced_by"] is None
        assert (await http.post("/api/alert-tests", json={"channel": "chn_1"})).status_code == 202
        rows = (await http.get("/api/deliveries")).json()["items"]
        assert [(row["subscriber_id"], row["entries"][0]["transition"]) for row in rows] == [
            (None, "test"),
            ("sub_1", "firing"),
        ]
        assert (await http.post(f"/api/deliveries/{rows[0]['id']}/redeliver")).status_code == 409, "it was not given up"
        assert (await http.post("/api/silences", json={"for_s": 60})).status_code == 400


async def test_no_secret_of_a_channel_comes_over_http(house: House) -> None:
    await furnish(house)
    async with house.http() as http:
        for path in ("channels", "subscribers", "deliveries", "alerts", "silences"):
            answer = await http.get(f"/api/{path}")
            assert answer.status_code == 200
            assert "secret" not in answer.text, path
        assert (await http.get("/api/channels")).json()[0]["address"] == "https://hooks.example.org/…"


async def test_a_channel_is_tried_told_of_more_or_less_and_removed_over_http(house: House) -> None:
    await furnish(house)
    async with house.http() as http:
        tried = (await http.post("/api/channels/chn_1/test")).json()
        assert (tried["ok"], tried["words"]) == (True, "taken")
        house.notifier.refuses = "HTTP 503"
        assert (await http.post("/api/channels/chn_1/test")).json()["ok"] is False
        assert (await http.post("/api/channels/chn_none/test")).status_code == 404

        body = {"name": "backups", "channel": "chn_1", "events": ["backup.*"], "severity": "info"}
        hours = {"quiet_from": "22:00", "quiet_until": "07:00", "time_zone": "Europe/Madrid"}
        headers = {"Idempotency-Key": "an old program's own"}
        made = [await http.post("/api/subscribers", json=body | hours, headers=headers) for _ in range(2)]
        assert [each.status_code for each in made] == [201, 201]
        subscriber = made[0].json()
        assert made[1].json() == subscriber
        assert {name: subscriber[name] for name in ("events", "severity", *hours)} == {
            "events": ["backup.*"],
            "severity": "info",
            **hours,
        }
        for wrong, status in (
            ({"channel": "chn_none"}, 404),
            ({"events": ["No Event"]}, 400),
            ({"quiet_from": "22:00"}, 400),
            ({"quiet_from": "25:00", "quiet_until": "07:00"}, 422),
            ({"time_zone": "Europe/Nowhere"}, 400),
            ({"severity": "loud"}, 422),
            ({"level": 11}, 422),
        ):
            assert (await http.post("/api/subscribers", json=body | wrong)).status_code == status, wrong
        assert (await http.delete(f"/api/subscribers/{subscriber['id']}")).status_code == 200
        assert [each["id"] for each in (await http.get("/api/subscribers")).json()] == ["sub_1"]

        assert (await http.delete("/api/channels/chn_1")).status_code == 200
        for path in ("channels", "subscribers", "deliveries"):
            left = (await http.get(f"/api/{path}")).json()
            assert (left["items"] if path == "deliveries" else left) == [], path
        assert (await http.delete("/api/channels/chn_1")).status_code == 404


async def test_alerts_are_the_owners_alone(house: House) -> None:
    await furnish(house)
    for key in ("other", "bound", "reader", "writer"):
        async with house.http(key) as http:
            for path in ("alerts", "alerts/alr_1", "silences", "channels", "subscribers", "deliveries"):
                assert (await http.get(f"/api/{path}")).status_code == 403, (key, path)
            subscriber = {"name": "mine", "channel": "chn_1"}
            for method, path, body in (
                ("POST", "channels/chn_1/test", None),
                ("POST", "subscribers", subscriber),
                ("DELETE", "subscribers/sub_1", None),
                ("DELETE", "channels/chn_1", None),
            ):
                assert (await http.request(method, f"/api/{path}", json=body)).status_code == 403, (key, path)
