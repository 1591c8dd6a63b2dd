"""The feed of changed jobs in Redis: what a scheduler reads instead of all jobs."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode
from pando_shared.jobs import Job, JobState
from pando_shared.store.order import oldest_first
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script
from pando_shared.store.values import JobChanges

_FEED = (keys.CHANGE_NUMBER, keys.CHANGED, keys.CHANGE_FEED)
_LIVE = tuple(keys.jobs_in(state) for state in JobState if not state.terminal)


class RedisChanges:
    """The part of `RedisStore` that knows which jobs were written, and when."""

    def __init__(self, redis: Redis, changes_kept: int):
        self._redis = redis
        self._changes_kept = changes_kept
        self._mark = script("mark_changed")
        self._changed = redis.register_script(script("changed_jobs"))

    def _mark_changed(self, pipe: Pipeline, job_id: str) -> None:
        """Add a job to the feed within the transaction that writes it."""
        # With its source, the script needs no round trip that loads it first.
        pipe.eval(self._mark, len(_FEED), *_FEED, job_id, self._changes_kept)

    def changed_jobs(self, since: int | None) -> JobChanges:
        found: Any = self._changed(
            keys=[*_FEED, *_LIVE, keys.LEASED],
            args=["" if since is None else since, keys.JOB_PREFIX],
        )
        whole, cursor, ids, texts = found
        jobs = oldest_first(decode(Job, text) for text in texts if text is not None)
        gone = () if whole else _without_record(ids, texts)
        return JobChanges(tuple(jobs), gone, cursor, bool(whole))


def _without_record(ids: list[bytes], texts: list[bytes | None]) -> tuple[str, ...]:
    missing = (id_ for id_, text in zip(ids, texts, strict=True) if text is None)
    return tuple(sorted(id_.decode() for id_ in missing))
