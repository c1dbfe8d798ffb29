"""`langchain-openai` under LangChain's own standard tests, against the edge with a model that does as it is told.

In an environment of its own (build/langchain, made by `make dev`): LangChain holds back a package that we have newer, and its tests
bring plugins of pytest that would be in all of ours."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from perenne.messages.models import GenerateRequest
from perenne.testing import FakeLanguage
from tests.contract.edge_house import secret
from tests.contract.house_thread import house_thread

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "langchain" / "bin" / "python"
LOOP = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session")  # their clients outlive a test
SUITE = Path(__file__).parent / "langchain_own" / "suite.py"


class Obliging(FakeLanguage):
    """Calls the tool that is offered, and fills in what a schema asks for: a number of the question, or the name in it."""

    def _call(self, request: GenerateRequest) -> dict[str, Any] | None:
        tools = request.extra.get("tools") or ()
        if not tools or request.messages[-1].role != "user" or request.extra.get("tool_choice") == "none":
            return None
        function = tools[0]["function"]
        arguments = json.dumps(filled(function.get("parameters") or {}, request.messages[-1].content))
        call = {"name": function["name"], "arguments": arguments}
        return {"index": 0, "id": f"call_{len(self.requests)}", "type": "function", "function": call}

    def _text(self, request: GenerateRequest) -> str:
        wanted = request.extra.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return json.dumps(filled(wanted["json_schema"]["schema"], request.messages[-1].content))
        return request.messages[-1].content


def filled(schema: dict[str, Any], question: str) -> dict[str, Any]:
    """Each property of an object's schema with a value of its type."""
    number = re.search(r"\d+", question)
    name = re.search(r"[\u4e00-\u9fff]+", question)
    values = {"integer": int(number[0]) if number else 1, "string": name[0] if name else "a word"}
    return {key: values.get(value.get("type", "")) for key, value in (schema.get("properties") or {}).items()}


def test_langchains_standard_tests_pass(tmp_path: Path) -> None:
    if not PYTHON.exists():
        assert not os.environ.get("CI"), f"{PYTHON} is missing: make dev"
        pytest.skip(f"{PYTHON} is missing: make dev")
    with house_thread(tmp_path) as house:
        house.house.directory.put("language", Obliging())
        environment = {
            **os.environ,
            "PERENNE_EDGE": f"{house.address}/v1",
            "PERENNE_KEY": secret("owner"),
            "PYTHONPATH": "",
            "LANGSMITH_TRACING": "false",
        }
        how = ("-q", "--tb=short", "--noconftest", "-c", os.devnull, "--rootdir", str(tmp_path), *LOOP)
        command = [str(PYTHON), "-m", "pytest", *how, "-p", "no:cacheprovider", str(SUITE)]
        done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-2000:]
