"""What a program is told about bringing a home back: no request does it."""

from tests.contract.edge_house import BACKUP, House


async def test_a_restore_is_told_line_by_line_and_done_by_no_request(house: House) -> None:
    async with house.http() as http:
        told = (await http.get(f"/api/backups/{BACKUP.id}/restore")).json()
        assert told["backup"]["id"] == BACKUP.id
        assert told["commands"][0] == f"export PERENNE_HOME={house.settings.home}"
        assert told["commands"][1:] == ["perenne down", f"perenne backup restore {BACKUP.id}", "perenne up"]
        assert "--force" in told["note"]
        assert (await http.get("/api/backups/20261126T083000123Z-00000000/restore")).status_code == 404
        assert (await http.post(f"/api/backups/{BACKUP.id}/restore")).status_code == 405
