"""What tests of the API do again and again."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

CHAT_LINE = (
    '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}'
)

JsonObject = dict[str, Any]


def upload(
    client: TestClient, content: str | bytes = CHAT_LINE + "\n", name: str = "train.jsonl"
) -> JsonObject:
    """The file object of an upload that must succeed."""
    answer = client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": (name, content)}
    )
    assert answer.status_code == 200, answer.text
    found: JsonObject = answer.json()
    return found


def create_job(client: TestClient, **body: Any) -> JsonObject:
    """The job object of a create that must succeed; uploads a file unless one is named."""
    body.setdefault("model", "tiny")
    if "training_file" not in body:
        body["training_file"] = upload(client)["id"]
    answer = client.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 200, answer.text
    found: JsonObject = answer.json()
    return found


def error_of(answer: Any, status: int = 400) -> JsonObject:
    """The error of an answer that must have this status, and OpenAI's shape."""
    assert answer.status_code == status, answer.text
    error: JsonObject = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.headers["x-request-id"]
    return error
