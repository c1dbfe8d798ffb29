"""By which names the server may be called, and from which pages."""

import pytest

from serve.addresses import known, name_in, refusal

OURS = (
    "127.0.0.1:8000", "127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]", "[::ffff:127.0.0.1]:8000", "192.168.1.20:8000",
    "10.0.0.5", "mypc:8000", "perenne:8000", "perenne.localhost", "perenne.default.svc.cluster.local:8000", "perenne.default.svc",
    "home.example.org", "HOME.example.org:443",
)  # fmt: skip
OTHERS = (
    "evil.example", "evil.example:8000", "127.0.0.1.nip.io", "127.0.0.1.evil.example:8000", "localhost.evil.example", "localhost.",
    "evil.example.", "localhost.localdomain", "home.example.org.evil.example", "xhome.example.org", "evil.example#127.0.0.1",
    "evil.example/127.0.0.1", "127.0.0.1@evil.example", "evil.example@127.0.0.1", "127.0.0.1:8000@evil.example", "", ":8000", "[::1",
    "::1]", "[evil.example]", "127.0.0.1:port", "127.0.0.1:99999", "127.0.0.1 evil.example", "127.0.0.1,evil.example", "e\u0301vil.example",
    "xn--vil-9ma.example", "svc.cluster.local.evil.example", "127.0.0.1?x", "127.0.0.1\\evil.example", "router.lan", "pc.local",
)  # fmt: skip
HOSTS = ("home.example.org",)


@pytest.mark.parametrize("host", OURS)
def test_a_name_that_no_stranger_can_own_is_ours(host: str) -> None:
    assert known(name_in(host), HOSTS)
    assert refusal([host], [], HOSTS) is None
    assert refusal([host], [f"http://{host}"], HOSTS) is None
    assert refusal([host], [f"https://{host}"], HOSTS) is None


@pytest.mark.parametrize("host", OTHERS)
def test_a_name_that_a_stranger_can_point_here_is_refused(host: str) -> None:
    for origin in ([], [f"http://{host}"]):
        error = refusal([host], origin, HOSTS)
        assert error is not None
        assert error.field == "Host"
        assert "edge.hosts" in str(error)


def test_any_of_several_host_headers_refuses() -> None:
    assert refusal(["127.0.0.1", "evil.example"], [], HOSTS) is not None
    assert refusal(["evil.example", "127.0.0.1"], [], HOSTS) is not None


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:8001", "http://localhost:8000", "null", "", "file://", "http://127.0.0.1:8000.evil.example",
     "chrome-extension://abc", "http://127.0.0.1:8000/", "http://127.0.0.1", "https://127.0.0.1:8000@evil.example"],
)  # fmt: skip
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    error = refusal(["127.0.0.1:8000"], [origin], HOSTS)
    assert error is not None
    assert error.field == "Origin"
    assert refusal(["127.0.0.1:8000"], ["http://127.0.0.1:8000", origin], HOSTS) is not None


def test_the_owners_own_page_is_let_in_behind_a_proxy_that_changes_host() -> None:
    assert refusal(["127.0.0.1:8000"], ["https://home.example.org"], HOSTS) is None
    assert refusal(["127.0.0.1:8000"], ["https://home.example.org"], ()) is not None


def test_a_client_that_is_no_page_needs_neither() -> None:
    assert refusal([], [], ()) is None
