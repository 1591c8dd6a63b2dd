"""/v1/files: what is kept, what is refused, and whose it is."""

from __future__ import annotations

import json

import pytest
from api_calls import CHAT_LINE, error_of, upload
from openai.types import FileObject
from starlette.testclient import TestClient

from pando_shared import layout
from pando_shared.clock import FakeClock
from pando_shared.storage import Storage

BOUNDARY = "frontier"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, str], closed: bool = True) -> bytes:
    """A multipart body of (disposition, content) parts, spelt out."""
    body = "".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n"
        for disposition, content in parts
    )
    return (body + (f"--{BOUNDARY}--\r\n" if closed else "")).encode()


PURPOSE = ('name="purpose"', "fine-tune")
FILE = ('name="file"; filename="a.jsonl"', CHAT_LINE)


def test_an_uploaded_file_comes_back_as_it_was(client: TestClient, storage: Storage) -> None:
    content = CHAT_LINE + "\n"
    made = upload(client, content, "my data.jsonl")
    FileObject.model_validate(made, strict=True)
    assert made["bytes"] == len(content)
    assert (made["filename"], made["purpose"], made["status"]) == (
        "my data.jsonl",
        "fine-tune",
        "processed",
    )
    assert client.get(f"/v1/files/{made['id']}").json() == made
    answer = client.get(f"/v1/files/{made['id']}/content", headers={"Accept": "application/binary"})
    assert answer.text == content
    assert answer.headers["content-length"] == str(len(content))
    assert json.loads(storage.read(layout.file_record(made["id"])))["tenant"] == "acme"


@pytest.mark.parametrize("parts", [(PURPOSE, FILE), (FILE, PURPOSE)])
def test_fields_may_come_in_any_order(
    client: TestClient, parts: tuple[tuple[str, str], ...]
) -> None:
    answer = client.post("/v1/files", content=form(*parts), headers=MULTIPART)
    assert answer.json()["bytes"] == len(CHAT_LINE)


def test_deleting_leaves_nothing(client: TestClient, storage: Storage) -> None:
    file_id = upload(client)["id"]
    answer = client.delete(f"/v1/files/{file_id}")
    assert answer.json() == {"id": file_id, "object": "file", "deleted": True}
    error_of(client.get(f"/v1/files/{file_id}"), 404)
    error_of(client.delete(f"/v1/files/{file_id}"), 404)
    assert storage.names("files") == []


def test_pages_end(client: TestClient, clock: FakeClock) -> None:
    ids = []
    for _ in range(3):
        ids.append(upload(client)["id"])
        clock.advance(1)
    first = client.get("/v1/files", params={"limit": 2}).json()
    assert [item["id"] for item in first["data"]] == ids[:0:-1]
    assert (first["has_more"], first["last_id"]) == (True, ids[1])
    rest = client.get("/v1/files", params={"limit": 2, "after": ids[1]}).json()
    assert [item["id"] for item in rest["data"]] == ids[:1]
    assert rest["has_more"] is False
    ascending = client.get("/v1/files", params={"order": "asc"}).json()
    assert [item["id"] for item in ascending["data"]] == ids
    assert client.get("/v1/files", params={"purpose": "batch"}).json()["data"] == []
    error_of(client.get("/v1/files", params={"after": "file-no"}), 404)
    error_of(client.get("/v1/files", params={"limit": 0}))


def test_another_tenants_file_is_not_there(client: TestClient, stranger: TestClient) -> None:
    file_id = upload(client)["id"]
    for answer in (
        stranger.get(f"/v1/files/{file_id}"),
        stranger.get(f"/v1/files/{file_id}/content"),
        stranger.delete(f"/v1/files/{file_id}"),
    ):
        error_of(answer, 404)
    assert stranger.get("/v1/files").json()["data"] == []
    assert client.get(f"/v1/files/{file_id}").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x.jsonl",
        "/abs.jsonl",
        "a\\b.jsonl",
        "..",
        "nul\x00.jsonl",
        "data.csv",
        "x" * 300 + ".jsonl",
    ],
)
def test_a_name_that_is_more_than_a_name_is_refused(
    client: TestClient, storage: Storage, name: str
) -> None:
    answer = client.post(
        "/v1/files",
        content=form(PURPOSE, (f'name="file"; filename="{name}"', CHAT_LINE)),
        headers=MULTIPART,
    )
    assert error_of(answer)["param"] == "file"
    assert storage.names("files") == []


def test_an_empty_file_is_refused(client: TestClient, storage: Storage) -> None:
    answer = client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", b"")}
    )
    assert "empty" in error_of(answer)["message"]
    assert storage.names("files") == []


@pytest.mark.parametrize("purpose", [None, "assistants", ""])
def test_another_purpose_is_refused(client: TestClient, purpose: str | None) -> None:
    data = {} if purpose is None else {"purpose": purpose}
    answer = client.post("/v1/files", data=data, files={"file": ("a.jsonl", CHAT_LINE)})
    assert error_of(answer)["param"] == "purpose"


def test_an_oversize_upload_is_refused_while_it_streams(
    client: TestClient, storage: Storage
) -> None:
    answer = client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", b"x" * 10_001)}
    )
    error = error_of(answer, 413)
    assert error["code"] == "file_too_large"
    assert "10000" in error["message"]
    assert storage.names("files") == []


def test_an_announced_oversize_is_refused_unread(client: TestClient) -> None:
    answer = client.post(
        "/v1/files", content=b"", headers={**MULTIPART, "Content-Length": str(1 << 40)}
    )
    assert error_of(answer, 413)["code"] == "file_too_large"


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (b'{"purpose": "fine-tune"}', {"Content-Type": "application/json"}, "multipart/form-data"),
        (form(PURPOSE), MULTIPART, "no file"),
        (form(PURPOSE, FILE, FILE), MULTIPART, "one file"),
        (form(PURPOSE, ('name="data"; filename="a.jsonl"', "x")), MULTIPART, "one file"),
        (form(PURPOSE, FILE, closed=False), MULTIPART, "closing boundary"),
        (b"not a form", MULTIPART, "malformed"),
        (form(("name=purpose", "x" * 70_000), FILE), MULTIPART, "fields hold more"),
        (form(PURPOSE, FILE), {"Content-Type": "multipart/form-data"}, "multipart/form-data"),
    ],
)
def test_a_broken_form_is_refused(
    client: TestClient, storage: Storage, body: bytes, headers: dict[str, str], says: str
) -> None:
    assert says in error_of(client.post("/v1/files", content=body, headers=headers))["message"]
    assert storage.names("files") == []
