"""A TLS proxy before the edge: what it says of a request is believed when its owner said that it is there, and never otherwise."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.edge_house import House, house_in
from tests.live.running import free_port

NAME = "perenne.example.org"


async def status(house: House, **headers: str) -> int:
    async with house.http() as http:
        return (await http.get("/api/me", headers=headers)).status_code


@pytest.mark.parametrize("keeps_host", [True, False])
async def test_the_page_behind_a_proxy_that_is_named_is_served_whatever_the_proxy_makes_of_host(
    tmp_path: Path, keeps_host: bool
) -> None:
    async with house_in(tmp_path, hosts=(NAME,), behind_tls_proxy=True) as house:
        own = (
            {"Host": NAME}
            if keeps_host
            else {"X-Forwarded-Host": NAME, "X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.9"}
        )
        assert await status(house, **own, Origin=f"https://{NAME}") == 200
        assert await status(house, **own, Origin="https://evil.example") == 400
        assert await status(house, **{**own, "X-Forwarded-Host": "evil.example"}) == 400
        assert await status(house, **{**own, "X-Forwarded-Host": f"{NAME}, evil.example"}) == 400


async def test_a_name_that_a_stranger_points_here_gets_nothing_by_claiming_another(tmp_path: Path) -> None:
    """A page that rebound its name may set any header but Host and Origin."""
    for behind in (True, False):
        async with house_in(tmp_path / str(behind), hosts=(NAME,), behind_tls_proxy=behind) as house:
            for forwarded in ({}, {"X-Forwarded-Host": NAME}, {"Forwarded": f"host={NAME}"}):
                assert await status(house, Host="evil.example", Origin=f"https://{NAME}", **forwarded) == 400


async def test_without_the_word_of_its_owner_no_header_of_a_proxy_is_seen_by_anything(house: House) -> None:
    seen: list[dict[bytes, bytes]] = []
    within = house.app.middleware_stack
    said = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
    }
    while type(within).__name__ != "Addresses":
        within = within.app if hasattr(within, "app") else within._app
    inner = within._app

    async def looking(scope: dict, receive: object, send: object) -> None:
        seen.append(dict(scope["headers"]))
        await inner(scope, receive, send)

    within._app = looking
    assert await status(house, **said) == 200
    assert await status(house, **said, Origin="https://evil.example") == 400
    assert not [name for name in seen[0] if b"forward" in name or b"real" in name]


def up(home: Path, *words: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERENNE_", "RAY_"))}
    given = {"PERENNE_HOME": str(home), "PERENNE_PORT": str(free_port()), "PERENNE_PROFILE": "tiny", **environment}
    return [sys.executable, "-m", "cluster.commands", "up", *words], {**kept, **given}


@pytest.mark.parametrize("how", ["flag", "environment", "file"])
def test_in_a_pipe_an_address_that_others_reach_is_refused_before_anything_starts(tmp_path: Path, how: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if how == "file":
        (home / "config.yaml").write_text("host: 0.0.0.0\n")
    words = ["--host", "0.0.0.0"] if how == "flag" else []
    command, environment = up(home, *words, **({"PERENNE_HOST": "0.0.0.0"} if how == "environment" else {}))
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "type: perenne up --behind-tls-proxy" in done.stderr
    assert not (home / "run").exists()
    assert not (home / "logs").exists()


def test_at_a_terminal_another_word_than_the_address_starts_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command, environment = up(home, "--host", "0.0.0.0")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = ""
    while "type the address (0.0.0.0): " not in said:  # pytest's timeout ends it
        said += os.read(ours, 4096).decode()
    os.write(ours, b"yes\n")
    assert child.wait(30) == 2
    os.close(ours)
    assert not (home / "run").exists()
    assert "can be read on the way" in said
