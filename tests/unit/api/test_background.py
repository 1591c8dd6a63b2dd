"""What an API process does while nobody asks it anything."""

from __future__ import annotations

import asyncio
import time

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_api.background import clear_for_ever
from pando_shared.clock import FakeClock
from pando_shared.storage import Storage
from pando_shared.uploads import UPLOAD_SECONDS

BODY = {"bytes": 9, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"}


async def nights(count: int, app: FastAPI, days: float = 0.0) -> None:
    """So many times of clearing away, and the end; files seem older by so many days."""
    left = iter(range(count))

    async def sleep(_: float) -> None:
        if next(left, None) is None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await clear_for_ever(app.state.services, sleep, lambda: time.time() + days * 86400)


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


async def test_what_a_killed_writer_left_is_cleared_away_a_day_later(
    app: FastAPI, storage: Storage
) -> None:
    partial = "files/file-1/content.0123abcd.partial"
    storage.write(partial, b"half of")
    await nights(36, app)
    assert storage.exists(partial)
    await nights(1, app, days=1.5)
    assert not storage.exists("files/file-1")


async def test_storage_is_walked_at_first_and_every_six_hours(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[float] = []

    def walk(storage: Storage, now: float) -> None:
        walks.append(now)

    monkeypatch.setattr("pando_api.background.clear_unfinished", walk)
    await nights(36, app)
    assert len(walks) == 1
    await nights(37, app)
    assert len(walks) == 3
