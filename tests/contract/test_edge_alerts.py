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


async def test_alerts_are_the_owners_alone(house: House) -> None:
    await furnish(house)
    for key in ("other", "bound", "reader", "writer"):
        async with house.http(key) as http:
            for path in ("alerts", "alerts/alr_1", "silences", "channels", "subscribers", "deliveries"):
                assert (await http.get(f"/api/{path}")).status_code == 403, (key, path)
