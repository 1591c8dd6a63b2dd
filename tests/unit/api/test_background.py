"""What an API process does while nobody asks it anything."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_api.background import clear_for_ever
from pando_shared.clock import FakeClock
from pando_shared.storage import Storage
from pando_shared.uploads import UPLOAD_SECONDS

BODY = {"bytes": 9, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"}


async def nights(count: int, app: FastAPI) -> None:
    """So many times of clearing away, and the end."""
    left = iter(range(count))

    async def sleep(_: float) -> None:
        if next(left, None) is None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await clear_for_ever(app.state.services, sleep)


async def test_parts_that_nobody_completed_are_cleared_away(
    app: FastAPI, client: TestClient, storage: Storage, clock: FakeClock
) -> None:
    made = client.post("/v1/uploads", json=BODY).json()["id"]
    client.post(f"/v1/uploads/{made}/parts", files={"data": b"123456789"})
    await nights(1, app)
    assert storage.names("uploads") == [made]
    clock.advance(UPLOAD_SECONDS + 1)
    await nights(1, app)
    assert storage.names("uploads") == []


async def test_a_storage_that_fails_one_night_is_tried_the_next(
    app: FastAPI,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(_: str) -> list[str]:
        raise OSError("read-only")

    monkeypatch.setattr(storage, "names", fails)
    await nights(2, app)
    assert caplog.text.count("cannot be cleared away now") == 2
