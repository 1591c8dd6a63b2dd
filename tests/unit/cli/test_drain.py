"""`pando drain` over a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from factories import EPOCH_START, make_job, make_worker
from fake_service import Pando

from pando_cli.commands import drain
from pando_shared.jobs import JobState, Lease
from pando_shared.store.redis import RedisStore

LEASE = Lease("w1", "w1-first", EPOCH_START + 15)


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """Two workers; the first trains three jobs, the second one."""
    store = RedisStore(redis_url)
    for worker_id in ("w1", "w2"):
        store.put_worker(make_worker(worker_id))
    for number in range(3):
        give(store, f"ftjob-{number}")
    store.create_job(
        make_job("ftjob-other", state=JobState.RUNNING, lease=replace(LEASE, worker_id="w2"))
    )
    yield store
    store.close()


def give(store: RedisStore, job_id: str) -> None:
    store.create_job(make_job(job_id, state=JobState.RUNNING, lease=LEASE))


def take(store: RedisStore, job_id: str) -> None:
    store.update_job(job_id, lambda job: replace(job.to(JobState.QUEUED), lease=None))


def meanwhile(monkeypatch: pytest.MonkeyPatch, *events: Callable[[], object]) -> list[float]:
    """Let one of `events` happen in each pause of the command; returns the pauses' lengths."""
    pauses: list[float] = []
    coming = iter(events)

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        next(coming, lambda: None)()

    monkeypatch.setattr(drain, "sleep", sleep)
    return pauses


def test_a_worker_is_marked_and_its_jobs_told(operator: Pando, store: RedisStore) -> None:
    told = operator("drain", "w1", "--json").json
    assert store.draining() == {"w1": told.pop("since")}
    assert told == {
        "worker": "w1",
        "draining": True,
        "jobs": ["ftjob-0", "ftjob-1", "ftjob-2"],
    }
    assert operator("drain", "w1").out == "w1 takes no more jobs; 3 jobs to move\n"


def test_draining_again_keeps_the_first_mark(operator: Pando, store: RedisStore) -> None:
    store.set_draining("w1", 5.0)
    assert operator("drain", "w1", "--json").json["since"] == 5.0
    assert store.draining() == {"w1": 5.0}


def test_it_waits_until_no_job_is_left(
    operator: Pando, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_leave() -> None:
        take(store, "ftjob-0")
        take(store, "ftjob-1")

    pauses = meanwhile(monkeypatch, two_leave, lambda: None, lambda: take(store, "ftjob-2"))
    done = operator("drain", "w1", "--wait")
    assert done.code == 0
    assert done.err.splitlines() == ["3 jobs to move", "1 job to move"]
    assert done.out == "w1 is empty and takes no more jobs\n"
    # Three, and one more look in case a job was just being given to it.
    assert pauses == [0.5] * 4


def test_a_job_given_in_the_last_moment_is_waited_for(
    operator: Pando, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        take(store, f"ftjob-{number}")
    meanwhile(monkeypatch, lambda: give(store, "ftjob-late"), lambda: take(store, "ftjob-late"))
    done = operator("drain", "w1", "--wait", "--json")
    assert done.json["jobs"] == []
    assert [job.id for job in store.leased_jobs()] == ["ftjob-other"]


def test_waiting_ends_if_someone_undoes_it(
    operator: Pando, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: store.set_draining("w1", None))
    done = operator("drain", "w1", "--wait")
    assert done.code == 1
    assert "undone" in done.err


def test_undoing_lets_it_take_jobs_again(operator: Pando, store: RedisStore) -> None:
    store.set_draining("w2", 5.0)
    operator("drain", "w1")
    told = operator("drain", "w1", "--undo", "--json").json
    assert (told["draining"], told["since"]) == (False, None)
    assert store.draining() == {"w2": 5.0}
    assert operator("drain", "w1", "--undo").out == "w1 takes jobs again\n"


def test_a_drained_worker_that_went_away_can_be_undone(operator: Pando, store: RedisStore) -> None:
    operator("drain", "w1")
    store.remove_worker("w1")
    assert operator("drain", "w1", "--undo").code == 0
    assert store.draining() == {}


def test_an_unknown_worker_is_refused_with_those_known(operator: Pando, store: RedisStore) -> None:
    done = operator("drain", "w3")
    assert done.code == 2
    assert "there is no worker w3" in done.err
    assert "Known are: w1, w2." in done.err
    assert store.draining() == {}


@pytest.mark.usefixtures("redis_url")
def test_without_workers(operator: Pando) -> None:
    done = operator("drain", "w1")
    assert done.code == 2
    assert "No worker has reported yet." in done.err


def test_waiting_and_undoing_exclude_each_other(operator: Pando, store: RedisStore) -> None:
    assert operator("drain", "w1", "--undo", "--wait").code == 2
    assert store.draining() == {}


def test_help_has_examples(pando: Pando) -> None:
    text = pando("drain", "--help").out
    assert "pando drain gpu-3 --undo" in text
