import os
from pathlib import Path

import pytest

from perenne.errors import ConfigurationError
from perenne.settings import _own_is_there, load_settings


def env(home: Path, **more: str) -> dict[str, str]:
    return {"PERENNE_HOME": str(home), **more}


def test_defaults_stand_without_any_file(tmp_path: Path) -> None:
    settings = load_settings(env(tmp_path))
    assert (settings.port, settings.host, settings.profile) == (8000, "127.0.0.1", "default")
    assert settings.models_dir == str(tmp_path / "models")
    assert settings.database_url == f"sqlite:///{tmp_path}/store/perenne.db"


def test_a_profile_overrides_only_what_it_names(tmp_path: Path) -> None:
    plain, tiny = load_settings(env(tmp_path)), load_settings(env(tmp_path, PERENNE_PROFILE="tiny"))
    assert tiny.language.model != plain.language.model
    assert tiny.language.engine == plain.language.engine


def test_the_homes_own_file_wins_over_the_profile_and_the_environment_over_both(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("port: 9001\nlanguage: {model: mine.gguf}\n")
    settings = load_settings(env(tmp_path, PERENNE_PROFILE="tiny"))
    assert (settings.port, settings.language.model) == (9001, "mine.gguf")
    assert load_settings(env(tmp_path, PERENNE_PORT="9002")).port == 9002


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port: high", "port"),
        ("prot: 1", "prot"),
        ("language: {engine: magic}", "language.engine"),
        ("- a list", "expected a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_setting_is_named_with_what_came(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=expected.replace(".", r"\.")):
        load_settings(env(tmp_path))


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"default, tiny"):
        load_settings(env(tmp_path, PERENNE_PROFILE="tinny"))


def test_rays_folder_is_short_and_differs_by_home(tmp_path: Path) -> None:
    one, two = (load_settings(env(tmp_path / name)).ray_dir for name in ("a" * 90, "b"))
    assert len(one) < 40
    assert one != two


def test_settings_that_cannot_be_read_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"port: \xff\xfe")
    with pytest.raises(ConfigurationError, match=r"config\.yaml, which can't be read"):
        load_settings(env(tmp_path))
    with pytest.raises(ConfigurationError, match=r"default\.yaml, which can't be read"):
        load_settings(env(tmp_path), configs=tmp_path / "none")


def test_a_home_that_is_closed_to_us_is_a_sentence(tmp_path: Path) -> None:
    """It was a traceback: PermissionError from looking for config.yaml."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    root = os.geteuid() == 0
    if root:  # to whom nothing is closed
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigurationError, match="closed to you"):
            _own_is_there(closed / "home")
    finally:
        if root:
            os.seteuid(0)


def test_networks_that_channels_may_reach_are_networks_and_the_address_of_redis_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("outgoing: {allow: [192.168.1.0/24]}\nredis_url: redis://:a-secret@host/0\n")
    settings = load_settings(env(tmp_path, PERENNE_REDIS_URL="redis://:another-secret@host/0"))
    assert settings.outgoing.allow == ("192.168.1.0/24",)
    assert settings.redis_url == "redis://:another-secret@host/0"
    assert "secret" not in repr(settings)
    (tmp_path / "config.yaml").write_text("outgoing: {allow: [192.168.1.1/24]}\n")
    with pytest.raises(ConfigurationError, match="host bits set"):
        load_settings(env(tmp_path))
