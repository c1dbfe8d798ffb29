import pytest

from actors.models import onnx_embedder
from actors.models.onnx_embedder import helpers_of, threads_of
from perenne.settings import ModelSettings


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (None, 1)])
def test_an_embedder_has_half_of_the_cores(cores: int | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had one of however many there were."""
    monkeypatch.setattr(onnx_embedder.os, "cpu_count", lambda: cores)
    assert threads_of(ModelSettings(engine="onnx", model="any")) == threads


def test_what_is_set_holds() -> None:
    assert threads_of(ModelSettings(engine="onnx", model="any", threads=3)) == 3


@pytest.mark.parametrize(("cores", "helpers"), [(1, 0), (2, 2), (16, 2), (None, 0)])
def test_passages_have_threads_of_their_own_where_there_are_two_cores(
    cores: int | None, helpers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_embedder.os, "cpu_count", lambda: cores)
    assert helpers_of(ModelSettings(engine="onnx", model="any")) == helpers
    assert helpers_of(ModelSettings(engine="onnx", model="any", threads=1)) == 0
