"""What an older release has stored counts once this one runs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from api_calls import upload
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_api.stored_recount import recount, recount_for_ever
from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.records import ModelRecord
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore
from pando_shared.stored_bytes import StoredBytes, file_thing

ADAPTER = ModelRecord("ft:tiny:acme::1", "acme", "tiny", "ftjob-1", "lora", "jobs/1/export", 1.0)


async def hours(count: int, app: FastAPI) -> None:
    left = iter(range(count - 1))

    async def sleep(_: float) -> None:
        if next(left, None) is None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await recount_for_ever(app.state.services, sleep)


async def test_old_records_are_counted_and_old_adapters_measured(
    app: FastAPI, client: TestClient, store: StubStore, storage: Storage, clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    file_id = upload(client, b"x" * 30)["id"]
    store.release_bytes("acme", file_thing(file_id))
    storage.write("jobs/1/export/adapter_model.safetensors", b"x" * 400)
    storage.write("jobs/1/export/deep/README.md", b"x" * 7)
    store.put_model(ADAPTER)
    store.put_model(replace(ADAPTER, name="ft:gone", path="jobs/2/export"))
    with caplog.at_level(logging.INFO, "pando_api.stored_recount"):
        await hours(2, app)
    assert store.stored_bytes("acme", clock.now()) == StoredBytes(files=30, adapters=407)
    assert store.get_model("acme", ADAPTER.name).bytes == 407
    assert caplog.messages == ["what tenant acme keeps in storage was counted anew"]


async def test_a_store_that_fails_is_tried_an_hour_later(
    app: FastAPI,
    store: StubStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away() -> None:
        raise Unavailable("Redis is away")

    monkeypatch.setattr(store, "list_keys", away)
    await hours(2, app)
    assert caplog.text.count("cannot be counted anew now") == 2


def test_what_is_counted_is_left_as_it_is(
    app: FastAPI, client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    upload(client, b"x" * 30)
    recount(app.state.services)
    assert store.stored_bytes("acme", clock.now()) == StoredBytes(files=30)
