"""The OpenAPI document against the edge: schemathesis sends what the document allows and what it does not, and every answer
must be one that the document tells of, in status, content type and form, and never a fault of ours."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.config import PositiveDataAcceptanceConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection

from perenne.ids import new_id
from serve.openai_responses import response_id
from serve.openai_store_files import batch_id
from serve.openapi import document
from tests.contract.edge_house import secret
from tests.contract.house_thread import HouseThread, house_thread

SEED = 20261125
EXAMPLES = 8  # an operation, beside the document's own examples and those at the bounds of each field
SAID = {"Authorization": f"Bearer {secret('owner')}"}

schema = schemathesis.openapi.from_dict(json.loads(document()))
schema.config.checks.negative_data_rejection.expected_statuses.extend(["412", "413", "460"])
schema.config.checks.missing_required_header.expected_statuses.append("412")  # what tus has for its own
# What has the right form may still be impossible as it stands (a cursor of no page, a span that ends before it begins): 400.
schema.config.checks.positive_data_acceptance = PositiveDataAcceptanceConfig(
    expected_statuses=["2xx", "400", "401", "403", "404", "409", "413", "415", "460"]
)


@schemathesis.serializer("application/offset+octet-stream")
def as_bytes(context: Any, value: Any) -> dict[str, Any]:
    return {"data": value if isinstance(value, bytes) else str(value).encode()}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseThread]:
    with house_thread(tmp_path_factory.mktemp("house"), requests_per_minute=10_000_000, uploads_max=10_000) as house:
        house.house.runs.text = "In 1863."  # hundreds of bodies are answered, and each word is a flush to disk
        yield house


@pytest.fixture(scope="module")
def session(house: HouseThread) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def known(house: HouseThread) -> dict[str, Any]:
    """Things that are there, made anew for each operation: a random id would only ever meet a 404."""
    mark, conversation = new_id("mark"), new_id("cnv")
    with httpx.Client(base_url=house.address, headers=SAID, trust_env=False) as http:
        project = http.post("/api/projects", json={"name": f"project {mark}"}).raise_for_status().json()["id"]
        added = http.post(f"/api/projects/{project}/documents", files={"file": ("a.txt", mark.encode(), "text/plain")})
        added.raise_for_status()
        asked = {"text": "When was it built?", "project": project}
        begun = http.post(f"/api/projects/{project}/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9"})
        posted = http.post(f"/api/conversations/{conversation}/messages", json=asked).raise_for_status().json()
    return {
        "project": project,
        "upload_id": begun.raise_for_status().json()["id"],
        "document_id": added.json()["document"]["id"],
        "job_id": added.json()["job"]["id"],
        "conversation_id": conversation,
        "message_id": posted["question"]["id"],
        "run_id": posted["run"]["id"],
        "key_id": "key_reader",
        "model": "perenne",
        "store_id": project,
        "file_id": added.json()["document"]["id"],
        "batch": batch_id(1_700_000_000, [added.json()["document"]["id"]]),
        "response": response_id(posted["run"]["id"]),
    }


def meet(case: schemathesis.Case, known: dict[str, Any]) -> None:
    """Put what is there into two of three paths that are meant to be good."""
    meta = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
    if not case.path_parameters or meta is None or not meta.mode.is_positive:
        return
    for name, value in case.path_parameters.items():
        if name in known and len(str(value)) % 3:
            case.path_parameters[name] = known[name]


@schema.parametrize()
@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_answer_is_one_that_the_document_tells_of(
    case: schemathesis.Case, house: HouseThread, session: requests.Session, known: dict[str, Any]
) -> None:
    meet(case, known)
    as_text = [negative_data_rejection] if case.media_type == "multipart/form-data" else []  # fields of a form have no types
    case.call_and_validate(base_url=house.address, headers=SAID, session=session, timeout=20, excluded_checks=as_text)
