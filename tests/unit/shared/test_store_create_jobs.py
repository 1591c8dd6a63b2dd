"""Jobs created together, and by several processes at once: all or none, and never too many."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from factories import make_job

from pando_shared.errors import JobQuotaExceeded
from pando_shared.jobs import Job, JobState
from pando_shared.store import NewJob, Store
from pando_shared.store.redis import RedisStore

THREADS = 8


def jobs(count: int, tenant: str = "acme") -> list[Job]:
    return [make_job(tenant=tenant) for _ in range(count)]


def ids(store: Store, tenant: str = "acme") -> set[str]:
    return {job.id for job in store.list_jobs(tenant, limit=1000)}


def test_all_are_kept_each_with_its_key(store: Store) -> None:
    first, second = jobs(2)
    new = [NewJob(first, "once"), NewJob(second)]
    assert store.create_jobs(new) == [first, second]
    assert store.job_created_with("acme", "once") == first
    assert ids(store) == {first.id, second.id}
    assert store.create_jobs([]) == []


def test_if_one_is_there_already_the_others_are_not_made(store: Store) -> None:
    first = store.create_job(make_job(), "once")
    second, third = jobs(2)
    assert store.create_jobs([NewJob(second, "once"), NewJob(third)]) == [first, None]
    assert store.create_jobs([NewJob(third), NewJob(first)], most_live=0) == [None, first]
    assert ids(store) == {first.id}


def test_one_too_many_and_none_is_kept(store: Store) -> None:
    store.create_jobs([NewJob(job) for job in jobs(2)])
    store.create_job(make_job(state=JobState.CANCELLED))
    store.create_jobs([NewJob(job) for job in jobs(9, "globex")])
    three = [NewJob(job) for job in jobs(3)]
    with pytest.raises(JobQuotaExceeded, match=r"has 2 jobs .* may have 4, 3 more were asked for"):
        store.create_jobs(three, most_live=4)
    assert len(ids(store)) == 3
    assert None not in store.create_jobs(three, most_live=5)


def test_two_processes_at_once_do_not_pass_the_limit_together(
    store: Store, request: pytest.FixtureRequest
) -> None:
    """Each thread has a store of its own, as processes have, where there is a Redis to share."""
    shared = isinstance(store, RedisStore)
    url = request.getfixturevalue("redis_url") if shared else ""
    stores = [RedisStore(url) if shared else store for _ in range(THREADS)]
    together = threading.Barrier(THREADS)

    def create(each: Store) -> int:
        together.wait(timeout=10)
        made = 0
        for _ in range(4):
            try:
                each.create_jobs([NewJob(make_job())], most_live=5)
            except JobQuotaExceeded:
                continue
            made += 1
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(create, stores)) == 5
    assert sum(store.count_live("acme").values()) == len(ids(store)) == 5
    for each in stores:
        if isinstance(each, RedisStore):
            each.close()


def test_one_key_at_once_makes_one_set_of_jobs(store: Store) -> None:
    together = threading.Barrier(THREADS)

    def create(number: int) -> list[Job | None]:
        pair = [replace(job, id=f"ftjob-{number}-{n}") for n, job in enumerate(jobs(2))]
        together.wait(timeout=10)
        return store.create_jobs([NewJob(pair[0], "once"), NewJob(pair[1])])

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(create, range(THREADS)))
    (whole,) = [answer for answer in answers if None not in answer]
    assert all(answer[0] == whole[0] for answer in answers)
    assert len(ids(store)) == 2
