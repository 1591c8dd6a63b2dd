"""/v1/uploads: files in parts, by hand and by the stock client."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import openai
import pytest
from api_calls import CHAT_LINE, JsonObject, create_job, error_of
from fastapi import FastAPI
from openai.types import Upload
from openai.types.uploads import UploadPart
from starlette.testclient import TestClient

from pando_api import upload_completion
from pando_api.app import create_app
from pando_shared.clock import FakeClock
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore

UPLOADS = "/v1/uploads"
HOUR = 3600
CONTENT = "".join(CHAT_LINE + "\n" for _ in range(40)).encode()


@pytest.fixture
def openai_client(client: TestClient) -> openai.OpenAI:
    key = client.headers["Authorization"].removeprefix("Bearer ")
    return openai.OpenAI(api_key=key, base_url="http://testserver/v1", http_client=client)


def create(client: TestClient, size: int = len(CONTENT), **changes: Any) -> httpx.Response:
    body = {"filename": "train.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl"}
    return client.post(UPLOADS, json=body | {"bytes": size} | changes)


def begin(client: TestClient, size: int = len(CONTENT)) -> str:
    """The id of a new upload."""
    return str(create(client, size).json()["id"])


def send(client: TestClient, upload_id: str, data: bytes) -> httpx.Response:
    return client.post(f"{UPLOADS}/{upload_id}/parts", files={"data": ("part", data)})


def send_all(client: TestClient, upload_id: str, *pieces: bytes) -> list[str]:
    """The ids of new parts."""
    return [str(send(client, upload_id, piece).json()["id"]) for piece in pieces]


def complete(
    client: TestClient, upload_id: str, part_ids: list[str], **options: Any
) -> httpx.Response:
    return client.post(f"{UPLOADS}/{upload_id}/complete", json={"part_ids": part_ids, **options})


def cancel(client: TestClient, upload_id: str) -> httpx.Response:
    return client.post(f"{UPLOADS}/{upload_id}/cancel")


def content(client: TestClient, upload: JsonObject) -> bytes:
    return client.get(f"/v1/files/{upload['file']['id']}/content").content


def test_parts_become_a_file_like_any_other(
    client: TestClient, storage: Storage, clock: FakeClock
) -> None:
    made = create(client).json()
    Upload.model_validate(made, strict=True)
    now = int(clock.now())
    assert made == {
        "id": ANY,
        "object": "upload",
        "bytes": len(CONTENT),
        "created_at": now,
        "expires_at": now + HOUR,
        "filename": "train.jsonl",
        "purpose": "fine-tune",
        "status": "pending",
        "file": None,
    }
    assert made["id"].startswith("upload_")
    part = send(client, made["id"], CONTENT[1000:]).json()
    UploadPart.model_validate(part, strict=True)
    assert part == {
        "id": ANY,
        "object": "upload.part",
        "created_at": now,
        "upload_id": made["id"],
    }
    assert part["id"].startswith("part_")
    first = send(client, made["id"], CONTENT[:1000]).json()
    done = complete(client, made["id"], [first["id"], part["id"]]).json()
    Upload.model_validate(done, strict=True)
    assert done == made | {"status": "completed", "file": ANY}
    assert client.get(f"/v1/files/{done['file']['id']}").json() == done["file"]
    assert client.get("/v1/files").json()["data"] == [done["file"]]
    assert content(client, done) == CONTENT
    assert storage.names("uploads") == []
    assert create_job(client, training_file=done["file"]["id"])["status"] == "validating_files"


def test_the_stock_client_uploads_by_hand(openai_client: openai.OpenAI) -> None:
    made = openai_client.uploads.create(
        filename="train.jsonl", purpose="fine-tune", bytes=len(CONTENT), mime_type="text/jsonl"
    )
    last = openai_client.uploads.parts.create(made.id, data=CONTENT[700:])
    first = openai_client.uploads.parts.create(made.id, data=CONTENT[:700])
    done = openai_client.uploads.complete(
        made.id, part_ids=[first.id, last.id], md5=hashlib.md5(CONTENT).hexdigest()
    )
    assert (done.status, last.upload_id) == ("completed", made.id)
    assert done.file is not None
    assert openai_client.files.retrieve(done.file.id) == done.file
    assert openai_client.files.content(done.file.id).read() == CONTENT
    dropped = openai_client.uploads.create(
        filename="train.jsonl", purpose="fine-tune", bytes=1, mime_type="text/jsonl"
    )
    assert openai_client.uploads.cancel(dropped.id).status == "cancelled"


def test_the_stock_client_cuts_a_file_up(openai_client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    done = openai_client.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=999
    )
    assert done.file is not None
    assert (done.file.filename, done.file.bytes) == ("train.jsonl", len(CONTENT))
    assert openai_client.files.content(done.file.id).read() == CONTENT


async def test_the_stock_async_client_sends_parts_at_once(
    client: TestClient, app: FastAPI, storage: Storage
) -> None:
    pieces = [CONTENT[start : start + 250] for start in range(0, len(CONTENT), 250)]
    async with openai.AsyncOpenAI(
        api_key=client.headers["Authorization"].removeprefix("Bearer "),
        base_url="http://testserver/v1",
        http_client=openai.DefaultAsyncHttpxClient(transport=httpx_transport(app)),
    ) as stock:
        made = await stock.uploads.create(
            filename="train.jsonl", purpose="fine-tune", bytes=len(CONTENT), mime_type="text/jsonl"
        )
        parts = await asyncio.gather(
            *(stock.uploads.parts.create(made.id, data=piece) for piece in pieces)
        )
        done = await stock.uploads.complete(made.id, part_ids=[part.id for part in parts])
        assert done.file is not None
        assert (await stock.files.content(done.file.id)).read() == CONTENT
    assert storage.names("uploads") == []


def httpx_transport(app: FastAPI) -> Any:
    """The application as a transport of whichever httpx the stock client is built on."""
    base = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
    return importlib.import_module(base).ASGITransport(app=app)


@pytest.mark.parametrize(
    ("changes", "param", "says"),
    [
        ({"purpose": "assistants"}, "purpose", "'fine-tune'"),
        ({"filename": "data.csv"}, "filename", ".jsonl"),
        ({"filename": "../train.jsonl"}, "filename", "plain name"),
        ({"filename": ""}, "filename", "1 to 255"),
        ({"bytes": 0}, "bytes", "greater than or equal to 1"),
        ({"bytes": "10"}, "bytes", "integer"),
        ({"expires_after": {}}, "expires_after", "unknown parameter"),
    ],
)
def test_what_files_refuses_is_refused_at_once(
    client: TestClient, changes: JsonObject, param: str, says: str
) -> None:
    error = error_of(create(client, **changes))
    assert error["param"] == param
    assert says in error["message"]


def test_a_file_over_the_limit_is_refused_at_once(client: TestClient) -> None:
    assert create(client, size=10_000).status_code == 200
    error = error_of(create(client, size=10_001), 413)
    assert (error["code"], error["param"]) == ("file_too_large", "bytes")


def test_another_size_than_announced_is_refused_with_both(client: TestClient) -> None:
    upload_id = begin(client, size=10)
    parts = send_all(client, upload_id, b"12345", b"6789", b"0")
    error = error_of(complete(client, upload_id, parts[:2]))
    assert error["param"] == "part_ids"
    assert "9 bytes" in error["message"]
    assert "10 were announced" in error["message"]
    assert content(client, complete(client, upload_id, parts).json()) == b"1234567890"


def test_the_md5_must_be_the_files(client: TestClient, storage: Storage) -> None:
    upload_id = begin(client, size=4)
    parts = send_all(client, upload_id, b"ab", b"cd")
    md5 = hashlib.md5(b"abcd").hexdigest()
    error = error_of(complete(client, upload_id, parts[::-1], md5=md5))
    assert error["param"] == "md5"
    assert hashlib.md5(b"cdab").hexdigest() in error["message"]
    assert error_of(complete(client, upload_id, parts, md5="nonsense"))["param"] == "md5"
    assert storage.names("files") == []
    done = complete(client, upload_id, parts, md5=md5.upper())
    assert content(client, done.json()) == b"abcd"
    assert error_of(complete(client, upload_id, parts, md5="0" * 32))["param"] == "md5"


def test_completing_again_gives_the_same_file(client: TestClient) -> None:
    upload_id = begin(client, size=4)
    parts = send_all(client, upload_id, b"ab", b"cd")
    done = complete(client, upload_id, parts).json()
    again = complete(client, upload_id, parts)
    assert (again.status_code, again.json()) == (200, done)
    assert "completed already" in error_of(complete(client, upload_id, parts[::-1]))["message"]
    assert "completed already" in error_of(cancel(client, upload_id))["message"]
    assert "completed already" in error_of(send(client, upload_id, b"e"))["message"]
    assert len(client.get("/v1/files").json()["data"]) == 1


@pytest.fixture
def clients(
    settings: Settings,
    store: StubStore,
    storage: Storage,
    messenger: StubMessenger,
    clock: FakeClock,
    client: TestClient,
) -> list[TestClient]:
    """One user's, of two API processes over the same store and storage."""
    beside = create_app(settings, store, storage, messenger, {}, clock)
    return [client, TestClient(beside, headers=client.headers)]


@pytest.mark.parametrize("alike", [True, False])
def test_of_two_that_complete_at_once_one_makes_the_file(
    clients: list[TestClient], storage: Storage, monkeypatch: pytest.MonkeyPatch, alike: bool
) -> None:
    upload_id = begin(clients[0], size=4)
    parts = send_all(clients[0], upload_id, b"ab", b"cd")
    both_have_joined = threading.Barrier(2)
    join = upload_completion._join

    def joined(*args: Any) -> str:
        md5 = join(*args)
        both_have_joined.wait(timeout=10)
        return md5

    monkeypatch.setattr(upload_completion, "_join", joined)
    orders = [parts, parts if alike else parts[::-1]]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda c, o: complete(c, upload_id, o), clients, orders))
    files = clients[0].get("/v1/files").json()["data"]
    assert storage.names("files") == [files[0]["id"]]
    assert len(files) == 1
    if alike:
        assert [answer.json()["file"] for answer in answers] == files * 2
        return
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    for answer, order in zip(answers, (b"abcd", b"cdab"), strict=True):
        if answer.status_code == 200:
            assert content(clients[0], answer.json()) == order
        else:
            assert "completed already" in error_of(answer)["message"]


def test_cancelling_while_another_completes_leaves_no_file(
    clients: list[TestClient], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = begin(clients[0], size=4)
    parts = send_all(clients[0], upload_id, b"ab", b"cd")
    join = upload_completion._join

    def cancelled_meanwhile(*args: Any) -> str:
        md5 = join(*args)
        assert cancel(clients[1], upload_id).status_code == 200
        return md5

    monkeypatch.setattr(upload_completion, "_join", cancelled_meanwhile)
    assert "cancelled already" in error_of(complete(clients[0], upload_id, parts))["message"]
    assert (storage.names("files"), storage.names("uploads")) == ([], [])
    assert clients[0].get("/v1/files").json()["data"] == []


def test_parts_that_vanish_while_they_are_joined(
    clients: list[TestClient], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another attempt was faster from end to end."""
    upload_id = begin(clients[0], size=4)
    parts = send_all(clients[0], upload_id, b"ab", b"cd")
    join, first = upload_completion._join, []

    def overtaken(*args: Any) -> str:
        if not first:
            first.append(None)
            first[0] = complete(clients[1], upload_id, parts).json()
        return join(*args)

    monkeypatch.setattr(upload_completion, "_join", overtaken)
    answer = complete(clients[0], upload_id, parts)
    assert (answer.status_code, answer.json()) == (200, first[0])
    assert len(storage.names("files")) == 1


def test_cancelling_leaves_nothing_and_can_be_repeated(
    client: TestClient, storage: Storage
) -> None:
    upload_id = begin(client, size=4)
    parts = send_all(client, upload_id, b"abcd")
    assert storage.names(f"uploads/{upload_id}") == parts
    for _ in range(2):
        assert cancel(client, upload_id).json()["status"] == "cancelled"
    assert storage.names("uploads") == []
    assert "cancelled already" in error_of(send(client, upload_id, b"x"))["message"]
    assert "cancelled already" in error_of(complete(client, upload_id, parts))["message"]


@pytest.mark.parametrize("call", ["parts", "complete", "cancel"])
def test_after_an_hour_it_is_over(
    client: TestClient, storage: Storage, clock: FakeClock, call: str
) -> None:
    upload_id = begin(client, size=4)
    clock.advance(HOUR - 1)
    parts = send_all(client, upload_id, b"abcd")
    clock.advance(1)
    answer = {
        "parts": lambda: send(client, upload_id, b"x"),
        "complete": lambda: complete(client, upload_id, parts),
        "cancel": lambda: cancel(client, upload_id),
    }[call]()
    assert "expired at" in error_of(answer)["message"]
    assert (storage.names("uploads"), storage.names("files")) == ([], [])


def test_whoever_uploads_next_clears_away_what_was_left(
    client: TestClient, stranger: TestClient, storage: Storage, clock: FakeClock
) -> None:
    abandoned = begin(client, size=4)
    send(client, abandoned, b"abcd")
    clock.advance(HOUR / 2)
    living = begin(client, size=4)
    parts = send_all(client, living, b"abcd")
    storage.write("uploads/upload_that_the_store_lost/part_1", b"x")
    storage.write(f"uploads/{abandoned}/part_unknown", b"x")
    cancelled = begin(client)
    cancel(client, cancelled)
    storage.write(f"uploads/{cancelled}/part_1", b"x")
    clock.advance(HOUR / 2)
    begin(stranger)
    assert storage.names("uploads") == [living]
    assert content(client, complete(client, living, parts).json()) == b"abcd"


def test_another_tenants_upload_is_not_there(
    client: TestClient, stranger: TestClient, storage: Storage
) -> None:
    upload_id = begin(client, size=4)
    parts = send_all(client, upload_id, b"abcd")
    missing = "upload_none"
    for call in (
        lambda id_: send(stranger, id_, b"x"),
        lambda id_: complete(stranger, id_, parts),
        lambda id_: cancel(stranger, id_),
    ):
        message = error_of(call(upload_id), 404)["message"]
        assert message.replace(upload_id, missing) == error_of(call(missing), 404)["message"]
    assert storage.names(f"uploads/{upload_id}") == parts
    done = complete(client, upload_id, parts)
    error_of(stranger.get(f"/v1/files/{done.json()['file']['id']}"), 404)
    error_of(complete(stranger, upload_id, parts), 404)


def test_a_part_of_another_upload_does_not_count(client: TestClient) -> None:
    one, two = begin(client, size=4), begin(client, size=4)
    (part,) = send_all(client, one, b"abcd")
    assert error_of(complete(client, two, [part]))["param"] == "part_ids.0"


def test_every_route_wants_a_key(app: FastAPI) -> None:
    nobody = TestClient(app)
    for answer in (
        create(nobody),
        send(nobody, "upload_1", b"x"),
        complete(nobody, "upload_1", []),
        cancel(nobody, "upload_1"),
    ):
        error_of(answer, 401)


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        ({"files": {"data": ("part", b"")}}, 400, "empty"),
        ({"files": {"file": ("part", b"x")}}, 400, "in the field 'data'"),
        ({"data": {"data": "x"}}, 400, "multipart/form-data"),
        ({"files": {"data": (None, b"x")}}, 400, "no bytes in the field 'data'"),
        ({"files": {"data": ("part", b"12345")}}, 413, "more than the 4 bytes announced"),
    ],
)
def test_a_part_that_cannot_be_is_refused(
    client: TestClient, storage: Storage, form: JsonObject, status: int, says: str
) -> None:
    upload_id = begin(client, size=4)
    assert says in error_of(client.post(f"{UPLOADS}/{upload_id}/parts", **form), status)["message"]
    assert storage.names(f"uploads/{upload_id}") == []


def test_only_parts_may_be_long(client: TestClient) -> None:
    upload_id = begin(client)
    error = error_of(complete(client, upload_id, ["x" * 9_000_000]), 413)
    assert error["code"] == "request_too_large"
    assert error_of(send(client, upload_id, b"x" * 9_000_000), 413)["code"] == "part_too_large"


def test_parts_do_not_pile_up(client: TestClient, storage: Storage) -> None:
    upload_id = begin(client, size=4)
    kept = send_all(client, upload_id, b"abcd", b"abcd", b"abcd")
    assert "more than 3 times" in error_of(send(client, upload_id, b"a"))["message"]
    assert storage.names(f"uploads/{upload_id}") == sorted(kept)


@pytest.fixture(params=["directory", "object store"])
def any_storage(request: pytest.FixtureRequest, storage: Storage) -> Storage:
    """An object store does not mind if a folder that is being written to goes away."""
    return storage if request.param == "directory" else Storage("memory://cancelled-uploads")


async def test_a_part_on_its_way_when_the_upload_is_cancelled_leaves_nothing(
    settings: Settings, store: StubStore, any_storage: Storage, clock: FakeClock, client: TestClient
) -> None:
    app = create_app(settings, store, any_storage, StubMessenger(), {}, clock)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://testserver",
        headers={"Authorization": client.headers["Authorization"]},
    ) as caller:
        body = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "", "bytes": 4}
        upload_id = (await caller.post(UPLOADS, json=body)).json()["id"]

        async def form() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="data"; filename="a"\r\n\r\nab'
            assert (await caller.post(f"{UPLOADS}/{upload_id}/cancel")).status_code == 200
            yield b"cd\r\n--x--\r\n"

        answer = await caller.post(
            f"{UPLOADS}/{upload_id}/parts",
            content=form(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert "cancelled already" in error_of(answer)["message"]
        assert any_storage.walk("uploads") == []
        await caller.post(UPLOADS, json=body)
        assert any_storage.names("uploads") == []
