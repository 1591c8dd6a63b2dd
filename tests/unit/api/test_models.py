"""/v1/models: bases, adapters, and an adapter's files as an archive."""

from __future__ import annotations

import io
import tarfile
import zipfile
from urllib.parse import quote

import pytest
from api_calls import error_of
from openai.types import Model
from starlette.testclient import TestClient

from pando_shared import layout
from pando_shared.records import ModelRecord
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore

ADAPTER = "ft:org/with-slash:acme:pirate:0123abcd"
CHECKPOINT = f"{ADAPTER}:ckpt-step-20"
FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w" * 1_500_000, "a/b.md": b""}


@pytest.fixture
def adapters(store: StubStore, storage: Storage) -> None:
    """An adapter and one of its checkpoints, with a record and files in storage each."""
    for at, (name, step) in enumerate(((CHECKPOINT, 20), (ADAPTER, None))):
        path = layout.export("ftjob-1", step)
        for file, content in FILES.items():
            storage.write(f"{path}/{file}", content)
        storage.write(layout.model_record("ftjob-1", step), b"{}")
        store.put_model(
            ModelRecord(name, "acme", "org/with-slash", "ftjob-1", "lora", path, float(at))
        )


@pytest.mark.usefixtures("adapters")
def test_bases_come_first_then_own_adapters(client: TestClient, stranger: TestClient) -> None:
    listed = [Model.model_validate(model) for model in client.get("/v1/models").json()["data"]]
    assert [model.id for model in listed] == ["tiny", "org/with-slash", ADAPTER, CHECKPOINT]
    assert [model.owned_by for model in listed] == ["pando", "pando", "acme", "acme"]
    assert len(stranger.get("/v1/models").json()["data"]) == 2


@pytest.mark.usefixtures("adapters")
@pytest.mark.parametrize("name", ["tiny", "org/with-slash", ADAPTER, CHECKPOINT])
@pytest.mark.parametrize("safe", ["", "/:"])
def test_names_with_colons_and_slashes_are_found(client: TestClient, name: str, safe: str) -> None:
    found = client.get(f"/v1/models/{quote(name, safe=safe)}")
    assert Model.model_validate(found.json()).id == name


@pytest.mark.usefixtures("adapters")
def test_tar_and_zip_hold_the_same_files(client: TestClient) -> None:
    path = f"/v1/models/{quote(ADAPTER, safe='')}/content"
    tar = client.get(path)
    assert tar.headers["content-disposition"].endswith('-acme-pirate-0123abcd.tar"')
    with tarfile.open(fileobj=io.BytesIO(tar.content)) as archive:
        members = {name: archive.extractfile(name) for name in archive.getnames()}
        assert {name: entry.read() for name, entry in members.items() if entry} == FILES
    packed = client.get(path, params={"format": "zip"})
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive_zip:
        assert archive_zip.testzip() is None
        assert {name: archive_zip.read(name) for name in archive_zip.namelist()} == FILES
    assert "'tar' or 'zip'" in error_of(client.get(path, params={"format": "rar"}))["message"]


@pytest.mark.usefixtures("adapters")
def test_deleting_an_adapter_leaves_its_checkpoint(
    client: TestClient, stranger: TestClient, storage: Storage
) -> None:
    error_of(stranger.delete(f"/v1/models/{ADAPTER}"), 404)
    answer = client.delete(f"/v1/models/{ADAPTER}")
    assert answer.json() == {"id": ADAPTER, "object": "model", "deleted": True}
    error_of(client.get(f"/v1/models/{ADAPTER}"), 404)
    error_of(client.delete(f"/v1/models/{ADAPTER}"), 404)
    assert client.get(f"/v1/models/{CHECKPOINT}").status_code == 200
    assert storage.names("models") == ["ftjob-1.ckpt-step-20.json"]
    client.delete(f"/v1/models/{CHECKPOINT}")
    assert storage.names("models") == []
    assert storage.walk("jobs/ftjob-1") == []


def test_bases_stay(client: TestClient) -> None:
    assert "base model" in error_of(client.delete("/v1/models/tiny"))["message"]
    assert "base model" in error_of(client.get("/v1/models/tiny/content"))["message"]


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client: TestClient) -> None:
    error = error_of(client.get("/v1/models/gpt-9"), 404)
    assert error["code"] == "model_not_found"
    assert "org/with-slash, tiny" in error["message"]
    error_of(client.get("/v1/models/gpt-9/content"), 404)
