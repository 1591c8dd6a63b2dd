"""What users hear where storage fails: that it does, and whether to try again."""

from __future__ import annotations

import errno
import os

import pytest
from api_calls import create_job, error_of, upload
from starlette.testclient import TestClient

from pando_shared.errors import Unavailable
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger

JOBS = "/v1/fine_tuning/jobs"


def fail_with(number: int, storage: Storage, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for method in ("write", "writing"):
        patch.setattr(storage, method, refuse)


@pytest.mark.parametrize(
    ("number", "status", "code", "says"),
    [
        (errno.ENOSPC, 507, "storage_full", "is full, and nothing was kept"),
        (errno.EDQUOT, 507, "storage_full", "is full, and nothing was kept"),
        (errno.EROFS, 503, "storage_unavailable", "Read-only file system"),
        (errno.EIO, 503, "storage_unavailable", "Input/output error"),
    ],
)
def test_a_refusal_is_explained_and_leaves_nothing(
    client: TestClient,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    status: int,
    code: str,
    says: str,
) -> None:
    file_id = upload(client)["id"]
    with monkeypatch.context() as patch:
        fail_with(number, storage, patch)
        job = client.post(JOBS, json={"model": "tiny", "training_file": file_id})
        files = {"file": ("a.jsonl", b'{"text": "one"}\n')}
        file = client.post("/v1/files", files=files, data={"purpose": "fine-tune"})
    for answer in (job, file):
        error = error_of(answer, status)
        assert error["code"] == code
        assert says in error["message"]
        retry = answer.headers.get("x-should-retry")
        assert retry == ("false" if status == 507 else None)
    assert client.get(JOBS).json()["data"] == []
    assert len(client.get("/v1/files").json()["data"]) == 1
    assert create_job(client, training_file=file_id)["status"] == "validating_files"


def test_a_job_that_is_kept_is_told_although_nobody_could_be_woken(
    client: TestClient, messenger: StubMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(client)["id"]

    def refuse(job_id: str) -> None:
        raise Unavailable("the message broker is not available")

    monkeypatch.setattr(messenger, "prepare", refuse)
    job = create_job(client, training_file=file_id)
    assert [each["id"] for each in client.get(JOBS).json()["data"]] == [job["id"]]
