"""The files that other supervisors read: KubeRay, Docker Compose, systemd."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cluster.root import STOP_TREE_S
from perenne.settings import SupervisionSettings

ROOT = Path(__file__).resolve().parents[3]


def test_the_cluster_keeps_its_state_and_gives_the_stop_time():
    cluster, claim, service = yaml.safe_load_all((ROOT / "ray-cluster.yaml").read_text())
    assert cluster["apiVersion"] == "ray.io/v1"
    assert f'"ray[default,serve]=={cluster["spec"]["rayVersion"]}"' in (ROOT / "pyproject.toml").read_text()
    pod = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    (container,) = pod["containers"]
    home = next(entry["value"] for entry in container["env"] if entry["name"] == "PERENNE_HOME")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts[home]]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "/dev/shm" in mounts
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert service["spec"]["selector"]["ray.io/cluster"] == cluster["metadata"]["name"]


def test_compose_publishes_on_loopback_only():
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["perenne"]["ports"])


def test_what_listens_on_every_address_says_that_something_stands_before_it():
    cluster, *_ = yaml.safe_load_all((ROOT / "ray-cluster.yaml").read_text())
    (container,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert {"name": "PERENNE_BEHIND_TLS_PROXY", "value": "1"} in container["env"]
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())
    assert compose["services"]["perenne"]["environment"]["PERENNE_BEHIND_TLS_PROXY"] == "1"
    assert "PERENNE_BEHIND_TLS_PROXY=1" not in (ROOT / "deploy" / "Dockerfile").read_text().split("CMD")[1]


def test_the_unit_ends_the_root_first_and_leaves_it_time():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # systemd's names have capitals
    unit.read(ROOT / "configs" / "systemd" / "perenne.service")
    assert unit["Service"]["KillMode"] == "mixed"
    assert int(unit["Service"]["TimeoutStopSec"]) >= 60
    assert unit["Service"]["ExecStart"].endswith("perenne up")


@pytest.mark.parametrize("name", ["perenne.service", "perenne-system.service"])
def test_systemd_takes_the_unit_without_a_word(name: str, tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here: apt install systemd")
    text = (ROOT / "configs" / "systemd" / name).read_text()
    assert all(line in text for line in ("Restart=always", "Type=notify", "WatchdogSec=", "KillMode=mixed", "LimitNOFILE="))
    # The checkout and the user that the unit names are not on this PC; all else is looked at as it stands.
    for line, here in (("ExecStart", sys.executable), ("WorkingDirectory", "/"), ("User", "root"), ("Group", "root")):
        text = re.sub(rf"^{line}=.*$", f"{line}={here}", text, flags=re.MULTILINE)
    unit = tmp_path / name
    for wrong, words in ((False, ""), (True, "RestratSec")):
        unit.write_text(text.replace("RestartSec", "RestratSec") if wrong else text)
        done = subprocess.run(
            [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
        )
        said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if name in line)
        assert words in said if wrong else said == ""


def test_a_stop_ends_before_systemd_loses_patience():
    unit = (ROOT / "configs" / "systemd" / "perenne.service").read_text()
    patience_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, flags=re.MULTILINE)[0])
    assert patience_s >= STOP_TREE_S + SupervisionSettings().drain_s + 10


def test_the_image_has_every_folder_of_the_server():
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    for folder in ("perenne", "actors", "cluster", "serve", "configs"):
        assert f"COPY {folder} {folder}" in image
