"""Homes of these tests lie in pytest's folders; the short folder that goes with each lies outside and is removed here."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from perenne.settings import Settings


@pytest.fixture(autouse=True)
def no_short_folder_stays(tmp_path: Path) -> Iterator[None]:
    yield
    for home in (tmp_path, *(path for path in tmp_path.glob("*") if path.is_dir())):
        shutil.rmtree(Settings.model_construct(home=str(home)).ray_dir, ignore_errors=True)
