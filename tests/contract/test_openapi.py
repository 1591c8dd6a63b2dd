"""The API keeps what its OpenAPI document promises, whatever is sent, in whatever order.

`make fuzz` does the same with many more cases, and other ones each time.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from api_calls import CHAT_LINE, upload
from contract_site import HEADERS, Site, counted_ids, not_held
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection
from starlette.testclient import TestClient

#: Cases for each operation, and walks through the whole API; the seed of all of them.
CASES = int(os.environ.get("PANDO_FUZZ_CASES", "20"))
WALKS = int(os.environ.get("PANDO_FUZZ_WALKS", "30"))
SEED = int(os.environ.get("PANDO_FUZZ_SEED", "1"))
STEPS = 20
#: Bodies that are accepted; those of TRAINING with the file that was uploaded last.
RIGHT: dict[str, dict[str, Any]] = {
    "POST /v1/files": {"purpose": "fine-tune", "file": CHAT_LINE.encode()},
    "POST /v1/fine_tuning/jobs": {"model": "tiny"},
    "POST /v1/fine_tuning/estimate": {"model": "tiny"},
    "POST /v1/uploads": {
        "bytes": 9,
        "filename": "parts.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
    },
    "POST /v1/webhook_endpoints": {
        "name": "contract",
        "url": "https://nobody.invalid/hook",
        "event_types": ["fine_tuning.job.succeeded"],
    },
}
TRAINING = ("POST /v1/fine_tuning/jobs", "POST /v1/fine_tuning/estimate")
QUIET = list(HealthCheck)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("contract") / "storage")


def operations() -> list[tuple[str, str]]:
    """All that the document has, and how to send to them: as it says, and otherwise, if there is
    anything that can be otherwise."""
    found = []
    for path, methods in Site(Path("unused")).app.openapi()["paths"].items():
        for method, operation in methods.items():
            label = f"{method.upper()} {path}"
            found.append((label, "positive"))
            if "parameters" in operation or "requestBody" in operation:
                found.append((label, "negative"))
    return found


def operation_called(site: Site, label: str) -> Any:
    found = [result.ok() for result in site.schema.get_all_operations()]
    return next(operation for operation in found if operation.label == label)


@pytest.mark.parametrize(("label", "mode"), operations())
def test_an_operation_answers_as_the_document_says(site: Site, label: str, mode: str) -> None:
    """Whether what is sent is as the document says, or is not."""
    operation = operation_called(site, label)
    cases = operation.as_strategy(generation_mode=GenerationMode(mode))

    @seed(SEED)
    @settings(max_examples=CASES, deadline=None, suppress_health_check=QUIET, database=None)
    @given(case=cases)
    def check(case: Any) -> None:
        response = case.call(headers=HEADERS)
        case.validate_response(response, excluded_checks=not_held(case))

    site.restart()
    check()


@pytest.mark.parametrize("label", sorted({label for label, _ in operations()}))
def test_an_operation_answers_at_its_limits_as_the_document_says(site: Site, label: str) -> None:
    """Every value at the edge of what its schema allows, and one beyond; every other method."""
    operation = operation_called(site, label)
    cases = list(
        site.schema.iter_coverage_cases(
            operation,
            generation_modes=list(GenerationMode),
            generation_config=site.schema.config.generation,
        )
    )
    assert cases
    site.restart()
    for case in cases:
        response = case.call(headers=HEADERS)
        case.validate_response(response, excluded_checks=not_held(case))


def test_any_order_of_operations_is_answered_as_the_document_says(site: Site) -> None:
    """Walks along the document's links, with what earlier requests made: jobs of files that were
    uploaded, cancelled ones cancelled again, parts of uploads that have ended. One file is there
    from the start, for few walks come by an upload before a job."""
    answers: Counter[tuple[str, int]] = Counter()

    @seed(SEED)
    class Walk(site.schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self._ids: AbstractContextManager[None] = counted_ids()
            self._ids.__enter__()
            site.restart()
            self._file_id = upload(TestClient(site.app, headers=HEADERS))["id"]

        def teardown(self) -> None:
            self._ids.__exit__(None, None, None)

        def before_call(self, case: Any) -> None:
            """What is never accepted leads nowhere; bodies of other kinds are tried above."""
            right = RIGHT.get(case.operation.label)
            if right is not None and isinstance(case.body, dict):
                case.body = dict(right)
            if case.operation.label in TRAINING and isinstance(case.body, dict):
                case.body["training_file"] = self._file_id

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": HEADERS}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            answers[case.operation.label, response.status_code] += 1
            if case.operation.label == "POST /v1/files" and response.status_code == 200:
                self._file_id = response.json()["id"]
            # What is wrong may be the key, which `get_call_kwargs` puts right.
            excluded = [*not_held(case), negative_data_rejection]
            case.validate_response(response, excluded_checks=excluded)

    Walk.run(
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=QUIET,
            database=None,
        )
    )
    for label in (
        "POST /v1/files",
        "POST /v1/fine_tuning/jobs",
        "POST /v1/webhook_endpoints",
        "POST /v1/uploads",
    ):
        assert answers[label, 200], f"no walk came past {label}: {answers}"
