"""An address that others can reach: nothing starts there before its owner has said what stands before it, or typed the address."""

from pathlib import Path

import pytest

from cluster.environment import head_environment
from cluster.exposure import CONFIRMED, consents, exposure, is_loopback, needs_consent
from cluster.ports import Ports
from perenne.errors import ConfigurationError
from perenne.settings import Settings, load_settings


def settings_of(home: Path, config: str = "", **environment: str) -> Settings:
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(config)
    return load_settings({"PERENNE_HOME": str(home), **environment})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_word(host: str, tmp_path: Path) -> None:
    assert is_loopback(host)
    assert not needs_consent(settings_of(tmp_path, PERENNE_HOST=host), {})


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.20", "10.0.0.1", "pc.local", "8.8.8.8", "localhost.evil.example", "", "*"]
)
def test_every_other_address_does_wherever_it_was_set(host: str, tmp_path: Path) -> None:
    for settings in (settings_of(tmp_path, f"host: '{host}'"), settings_of(tmp_path, PERENNE_HOST=host or "*")):
        assert needs_consent(settings, {})
    behind = (
        settings_of(tmp_path, f"host: '{host}'\nedge: {{behind_tls_proxy: true}}"),
        settings_of(tmp_path, f"host: '{host}'", PERENNE_BEHIND_TLS_PROXY="1"),
    )
    assert not any(needs_consent(settings, {}) for settings in behind)
    assert needs_consent(
        settings_of(tmp_path, f"host: '{host}'\nedge: {{behind_tls_proxy: true}}", PERENNE_BEHIND_TLS_PROXY="0"), {}
    )


def test_a_word_that_is_neither_yes_nor_no_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="behind_tls_proxy"):
        settings_of(tmp_path, PERENNE_BEHIND_TLS_PROXY="perhaps")


def test_the_address_is_to_be_typed_and_nothing_else_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(tmp_path, "host: 192.168.1.20")
    assert consents(settings, lambda question: "192.168.1.20\n")
    for typed in ("", "\n", "y\n", "yes\n", "192.168.1.2\n", "0.0.0.0\n"):
        assert not consents(settings, lambda question, typed=typed: typed)
    said = capsys.readouterr().err
    assert "can be read on the way" in said
    assert "type: " in said


def test_in_a_pipe_it_is_refused_with_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not consents(settings_of(tmp_path, "host: 0.0.0.0"), None)
    said = capsys.readouterr().err
    assert "perenne up --behind-tls-proxy" in said
    assert "perenne up --host 0.0.0.0" in said


def test_what_was_typed_is_believed_of_a_detached_root_for_that_address_only(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "host: 0.0.0.0")
    assert not needs_consent(settings, {"PERENNE_DETACHED": "1", CONFIRMED: "0.0.0.0"})
    for environment in ({CONFIRMED: "0.0.0.0"}, {"PERENNE_DETACHED": "1"}, {"PERENNE_DETACHED": "1", CONFIRMED: "10.0.0.1"}):
        assert needs_consent(settings, environment)


def test_every_process_of_the_instance_has_the_same_settings(tmp_path: Path) -> None:
    """The igniter reads its settings anew: a flag that it was not told of would bind another address."""
    for given in ({}, {"PERENNE_HOST": "10.0.0.1", "PERENNE_BEHIND_TLS_PROXY": "1"}):
        settings = settings_of(tmp_path, **given)
        told = head_environment(settings, Ports(20_000), {"FORWARDED_ALLOW_IPS": "*"})
        assert load_settings(told).host == settings.host
        assert load_settings(told).edge.behind_tls_proxy == settings.edge.behind_tls_proxy
        assert (told["FORWARDED_ALLOW_IPS"] == "127.0.0.1,::1") == settings.edge.behind_tls_proxy


def test_the_doctor_says_who_can_reach_it(tmp_path: Path) -> None:
    def found(config: str) -> tuple[str, str]:
        (finding,) = exposure(settings_of(tmp_path, config), False)
        return finding.level, finding.sentence + finding.remedy

    assert found("")[0] == "fine"
    level, said = found("host: 0.0.0.0")
    assert level == "warns"
    assert "--behind-tls-proxy" in said
    level, said = found("edge: {behind_tls_proxy: true}")
    assert level == "warns"
    assert "edge.hosts" in said
    level, said = found("host: 0.0.0.0\nedge: {behind_tls_proxy: true, hosts: [a.example.org]}")
    assert (level, "a.example.org" in said) == ("fine", True)
