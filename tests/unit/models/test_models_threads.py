import pytest

from actors.models import onnx_embedder
from actors.models.onnx_embedder import threads_of
from perenne.settings import ModelSettings


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (None, 1)])
def test_an_embedder_has_half_of_the_cores(cores: int | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had one of however many there were."""
    monkeypatch.setattr(onnx_embedder.os, "cpu_count", lambda: cores)
    assert threads_of(ModelSettings(engine="onnx", model="any")) == threads


def test_what_is_set_holds() -> None:
    assert threads_of(ModelSettings(engine="onnx", model="any", threads=3)) == 3
