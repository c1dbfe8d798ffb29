"""The tree as data."""

import importlib.util
from pathlib import Path

import pytest

from cluster.reasons import of_model, why_not
from cluster.root import migrating
from cluster.tree import Child, build_tree, spec_hash
from perenne.messages.health import ChildStatus, TreeStatus
from perenne.messages.models import ModelState
from perenne.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_PROFILE": "tiny"})


def test_whatever_a_child_comes_after_stands_before_it(settings: Settings):
    seen: set[str] = set()
    for child in build_tree(settings):
        assert set(child.after) <= seen, child.name
        assert child.name not in seen
        seen.add(child.name)


def test_every_childs_module_is_there(settings: Settings):
    for child in build_tree(settings):
        assert importlib.util.find_spec(child.code.partition(":")[0]), child.code


def test_another_configuration_is_another_spec(settings: Settings):
    child = build_tree(settings)[0]
    assert spec_hash(child, settings) == spec_hash(child, settings.model_copy())
    assert spec_hash(child, settings) != spec_hash(child, settings.model_copy(update={"shards": 2}))


def test_a_model_on_its_way_is_a_number_in_plain_words(settings: Settings):
    state = ModelState(role="language", model_id="m", phase="downloading", progress=0.341)
    assert of_model(state) == ("degraded", "downloading, 34 %")
    language = Child(name="language", code="actors.models.app:language", kind="application")
    status = ChildStatus(name="language", state="degraded", detail="downloading, 34 %", kind="application")
    assert why_not([(language, status)]) == ("language model: downloading, 34 %",)


def test_an_unloaded_model_is_ready_and_a_failed_one_says_why():
    assert of_model(ModelState(role="language", model_id="m", phase="unloaded"))[0] == "ready"
    state, words = of_model(ModelState(role="language", model_id="m", phase="failed", detail="wrong hash"))
    assert state == "degraded"
    assert "wrong hash" in words


def test_ready_means_that_no_reason_is_left():
    child = Child(name="StoreWriter", code="actors.store.actor:StoreWriter")
    assert why_not([(child, ChildStatus(name="StoreWriter", state="ready"))]) == ()
    assert why_not([(child, ChildStatus(name="StoreWriter", state="dead", detail="gone"))]) == ("StoreWriter is dead: gone",)
    spare = Child(name="x", code="a:b", needed=False)
    assert why_not([(spare, ChildStatus(name="x", state="dead"))]) == ()


def test_a_start_that_migrates_says_how_far_it_is_before_there_is_an_address() -> None:
    # 100,000 passages took minutes on a busy PC, without a word, and the first boot gave up on them after two.
    detail = "making full text anew: 5,000 of 100,000 passages"
    children = (
        ChildStatus(name="StoreWriter", state="recovering", detail=detail),
        ChildStatus(name="RunHost", state="recovering", detail="2 runs"),
        ChildStatus(name="edge", state="starting"),
    )
    assert migrating(TreeStatus(ready=False, children=children)) == (f"StoreWriter: {detail}",)
    assert migrating(TreeStatus(ready=False, children=(ChildStatus(name="StoreWriter", state="recovering"),))) == ()
