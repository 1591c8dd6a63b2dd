"""The events of jobs in Redis, until storage has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from redis import Redis

from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound, StaleEpoch
from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script
from pando_shared.store.values import Told

_ENDS = [state for state in JobState if state.terminal]
_TERMINAL = " ".join(["", *(state.value for state in _ENDS), ""])


class RedisEvents:
    """The part of `RedisStore` that knows what happened to jobs."""

    def __init__(self, redis: Redis):
        self._redis = redis
        self._append = redis.register_script(script("append_events"))
        self._window = redis.register_script(script("events"))
        self._told = redis.register_script(script("told"))
        self._trim = redis.register_script(script("trim_events"))

    def append_events(self, job_id: str, events: Iterable[Event], epoch: int | None = None) -> None:
        texts = [encode(event).decode() for event in events]
        current: Any = self._append(
            keys=[keys.job(job_id), keys.events(job_id), keys.ENDED_WITH_EVENTS],
            args=[job_id, _TERMINAL, "" if epoch is None else str(epoch), *texts],
        )
        if current is None:
            raise NotFound(f"no such job: {job_id}")
        if current != -1:
            raise StaleEpoch(f"job {job_id} is at epoch {current}, writer has {epoch}")

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]:
        return self._events_in(job_id, max(0, start), start + limit)

    def events_before(self, job_id: str, *, seq: int | None = None, limit: int = 20) -> list[Event]:
        return self._events_in(job_id, -limit, seq)[::-1] if limit > 0 else []

    def _events_in(self, job_id: str, start: int, end: int | None) -> list[Event]:
        """Those with `start` <= seq < `end`; a negative `start` counts back from the end."""
        found: Any = self._window(
            keys=[keys.events(job_id), keys.EVENTS_STORED],
            args=[job_id, start, "" if end is None else end],
        )
        first, texts = found
        return [replace(decode(Event, text), seq=first + i) for i, text in enumerate(texts)]

    def told(self, job_ids: Sequence[str]) -> list[Told]:
        found: Any = self._told(
            keys=[keys.EVENTS_STORED, *(keys.jobs_in(state) for state in _ENDS)],
            args=[keys.JOB_PREFIX, *job_ids],
        )
        return [Told(events, bool(ended)) for events, ended in found]

    def events_stored(self, job_id: str) -> int:
        count: Any = self._redis.hget(keys.EVENTS_STORED, job_id)
        return int(count or 0)

    def trim_events(self, job_id: str, start: int, end: int) -> bool:
        trimmed: Any = self._trim(
            keys=[keys.events(job_id), keys.EVENTS_STORED, keys.ENDED_WITH_EVENTS],
            args=[job_id, start, end],
        )
        return bool(trimmed)

    def ended_with_events(self) -> list[str]:
        ids: Any = self._redis.smembers(keys.ENDED_WITH_EVENTS)
        return sorted(job_id.decode() for job_id in ids)
