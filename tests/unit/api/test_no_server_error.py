"""Whatever JSON a user sends, the answer is an answer: never a 5xx, always OpenAI's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_calls import error_of, upload
from factories import make_worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pando_api.schemas.chat import ChatCreate
from pando_api.schemas.completions import CompletionCreate
from pando_api.schemas.job_create import JobCreate
from pando_api.schemas.uploads import UploadCreate
from pando_shared.store.stub import StubStore

#: With surrogates, NaN, infinities and integers that no float holds.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["auto", "tiny", "lora", "paca", "meft", "q_proj", "user", "supervised"]),
)
ADAPTER_KEYS = st.sampled_from(["type", "rank", "alpha", "dropout", "target_modules", "num_keys"])
OTHER_KEYS = st.sampled_from(["type", "supervised", "hyperparameters", "role", "content", "text"])
KEYS = st.one_of(ADAPTER_KEYS, OTHER_KEYS, st.text(max_size=5))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def bodies(schema: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A few of the schema's fields, with anything in them."""
    return st.dictionaries(st.sampled_from(sorted(schema.model_fields)), VALUES, max_size=4)


@pytest.fixture
def training_file(client: TestClient, store: StubStore) -> str:
    store.put_worker(make_worker(budget_bytes=1 << 40, heartbeat_at=0.0))
    return str(upload(client)["id"])


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/fine_tuning/jobs", JobCreate),
        ("/v1/completions", CompletionCreate),
        ("/v1/chat/completions", ChatCreate),
        ("/v1/uploads", UploadCreate),
    ],
)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_json(
    client: TestClient, training_file: str, path: str, schema: type[Any], data: st.DataObject
) -> None:
    usual: dict[str, Any] = {"model": "tiny"}
    if schema is JobCreate:
        usual["training_file"] = training_file
    elif schema is CompletionCreate:
        usual["prompt"] = "x"
    elif schema is UploadCreate:
        usual = {"bytes": 1, "filename": "x", "mime_type": "text/plain", "purpose": "fine-tune"}
    body = usual | data.draw(bodies(schema))
    answer = client.post(
        path, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    if answer.status_code == 503:  # The worker's heartbeat is old, so that samples end at once.
        assert "pando up" in answer.json()["error"]["message"]
    elif answer.status_code != 200:
        assert answer.status_code in (400, 404, 413)
        error_of(answer, answer.status_code)
