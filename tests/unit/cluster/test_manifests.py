"""The files that other supervisors read: KubeRay, Docker Compose, systemd."""

import configparser
from pathlib import Path

import yaml

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


def test_the_image_has_every_folder_of_the_server():
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    for folder in ("perenne", "actors", "cluster", "serve", "configs"):
        assert f"COPY {folder} {folder}" in image
