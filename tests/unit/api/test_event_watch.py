"""What streams of events cost, and that nobody waits in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Any

import pytest
from factories import make_job

from pando_api import event_watch
from pando_api.event_stream import follow
from pando_api.event_watch import EventWatch
from pando_shared import layout
from pando_shared.errors import Unavailable
from pando_shared.history import History, move_to_storage
from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.storage import Storage
from pando_shared.store import Change
from pando_shared.store.stub import StubStore
from pando_shared.store.values import Told

STREAMS = 1000


class CountingStore:
    """A store that counts the calls it gets."""

    def __init__(self, store: StubStore):
        self._store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.calls.append(name)
        method: Callable[..., Any] = getattr(self._store, name)
        return method


class SlowWatch(EventWatch):
    """Looks when it is told to."""

    async def _look_while_awaited(self) -> None:
        return


async def turns(until: Callable[[], bool]) -> None:
    """Let everybody go on until something is so."""
    for _ in count():
        if until():
            return
        await asyncio.sleep(0)


def new_job(store: StubStore, events: int) -> str:
    job = store.create_job(make_job())
    store.append_events(job.id, [Event(1.0, f"event {n}") for n in range(events)])
    return job.id


async def drained(stream: AsyncIterator[Any]) -> list[str]:
    return [event.id.rsplit("-", 1)[-1] async for event in stream]


def test_a_thousand_streams_cost_one_call_a_look(store: StubStore, storage: Storage) -> None:
    jobs = [new_job(store, 0) for _ in range(100)]
    counting: Any = CountingStore(store)
    history, watch = History(counting, storage), SlowWatch(counting)
    sent: list[str] = []

    async def listen(job_id: str) -> None:
        async for event in follow(history, watch, job_id, 0):
            sent.append(event.id)

    async def scene() -> None:
        waiting = watch._waiting
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(STREAMS):
                group.create_task(listen(jobs[number % len(jobs)]))
            await turns(lambda: len(waiting) == STREAMS)
            counting.calls.clear()
            for _ in range(20):
                await watch.look()
            assert counting.calls == ["told"] * 20
            for job_id in jobs:
                store.append_events(job_id, [Event(1.0, "news")])
            await watch.look()
            await turns(lambda: len(sent) == STREAMS and len(waiting) == STREAMS)
            for job_id in jobs:
                store.update_job(job_id, lambda job: job.to(JobState.CANCELLED))
            await watch.look()
        assert not waiting

    asyncio.run(scene())


def test_a_stream_goes_on_while_its_events_move(store: StubStore, storage: Storage) -> None:
    job_id = new_job(store, 2)
    watch = SlowWatch(store)

    async def scene() -> list[str]:
        async with asyncio.timeout(60):
            stream = asyncio.create_task(drained(follow(History(store, storage), watch, job_id, 0)))
            await turns(lambda: len(watch._waiting) == 1)
            end = (Event(2.0, "event 2"), Event(3.0, "cancelled"))
            store.update_job(job_id, lambda job: Change(job.to(JobState.CANCELLED), end))
            move_to_storage(store, storage, job_id)
            while not stream.done():
                await watch.look()
            return await stream

    assert asyncio.run(scene()) == ["0", "1", "2", "3"]


def test_a_stream_ends_though_storage_has_lost_events(store: StubStore, storage: Storage) -> None:
    job_id = new_job(store, 2)
    store.update_job(job_id, lambda job: job.to(JobState.CANCELLED))
    move_to_storage(store, storage, job_id)
    storage.delete(layout.events(job_id))
    store.append_events(job_id, [Event(2.0, "late")])
    watch = EventWatch(store)
    assert asyncio.run(drained(follow(History(store, storage), watch, job_id, 0))) == ["2"]


def test_it_looks_only_while_somebody_waits(
    store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "POLL_SECONDS", 0.0)
    job_id = new_job(store, 3)
    watch = EventWatch(store)

    async def scene() -> None:
        assert await watch.news(job_id, 2) == Told(3, ended=False)
        looking = watch._looking
        assert looking is not None
        await looking
        # It starts again for the next, also after one that has gone.
        gone = asyncio.create_task(watch.news(job_id, 3))
        await turns(lambda: bool(watch._waiting))
        gone.cancel()
        await turns(gone.done)
        assert not watch._waiting
        assert await watch.news(job_id, 0) == Told(3, ended=False)

    asyncio.run(scene())


def test_all_hear_that_the_store_is_away(store: StubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Sequence[str]) -> list[Told]:
        raise Unavailable("Redis is not available")

    monkeypatch.setattr(store, "told", away)
    watch = EventWatch(store)

    async def scene() -> list[Told | BaseException]:
        waits = (watch.news(f"ftjob-{number}", 0) for number in range(3))
        return await asyncio.gather(*waits, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(scene())] == [Unavailable] * 3
