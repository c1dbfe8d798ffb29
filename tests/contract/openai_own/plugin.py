"""A plugin of the pytest that runs the `openai` package's own tests: says which are expected to fail and why, and has the house
furnished before each test, since they name things by ids of their own."""

import fnmatch
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

EXPECTED = Path(__file__).with_name("expected_failures.yaml")


def expected() -> Iterator[tuple[str, str]]:
    """Each pattern of tests with the reason why they fail."""
    for group in yaml.safe_load(EXPECTED.read_text(encoding="utf-8")):
        for pattern in group["tests"]:
            yield pattern, group["reason"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "path_params" in item.name:  # nothing is sent
            continue
        for pattern, reason in expected():
            if fnmatch.fnmatchcase(item.nodeid, f"*/{pattern}*".replace("[", "[[]").replace("::", "::*::")):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "path_params" not in item.name:
        urllib.request.urlopen(os.environ["PERENNE_FURNISH"], timeout=20).close()
