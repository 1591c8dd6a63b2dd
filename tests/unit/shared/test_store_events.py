"""Events that storage has taken over, in every store."""

import pytest
from factories import make_job

from pando_shared.jobs import JobState
from pando_shared.records import Event
from pando_shared.store import Change, Store
from pando_shared.store.values import Told


def said(count: int) -> list[Event]:
    return [Event(float(number), f"event {number}") for number in range(count)]


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


@pytest.fixture
def job_id(store: Store) -> str:
    """A job of five events."""
    job = store.create_job(make_job())
    store.append_events(job.id, said(5))
    return job.id


def test_an_event_keeps_its_number_when_older_ones_go(store: Store, job_id: str) -> None:
    assert store.trim_events(job_id, 0, 3)
    assert store.events_stored(job_id) == 3
    store.append_events(job_id, [Event(9.0, "later")])
    assert [(e.seq, e.message) for e in store.events(job_id)] == [
        (3, "event 3"),
        (4, "event 4"),
        (5, "later"),
    ]
    assert seqs(store.events(job_id, start=1, limit=3)) == [3]
    assert seqs(store.events(job_id, start=5)) == [5]
    assert seqs(store.events_before(job_id, limit=2)) == [5, 4]
    assert seqs(store.events_before(job_id, seq=5)) == [4, 3]
    assert store.events_before(job_id, seq=3) == store.events_before(job_id, limit=0) == []


@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, 4), (3, 6), (3, 2)])
def test_only_the_oldest_that_are_there_can_go(
    store: Store, job_id: str, start: int, end: int
) -> None:
    """Whoever trims has written what it read; what it did not read must stay."""
    store.trim_events(job_id, 0, 3)
    assert not store.trim_events(job_id, start, end)
    assert (seqs(store.events(job_id)), store.events_stored(job_id)) == ([3, 4], 3)


def test_an_ended_job_is_known_until_all_its_events_are_gone(store: Store, job_id: str) -> None:
    assert store.ended_with_events() == []
    store.update_job(
        job_id, lambda job: Change(job.to(JobState.CANCELLED), (Event(5.0, "cancelled"),))
    )
    assert store.ended_with_events() == [job_id]
    store.trim_events(job_id, 0, 5)
    assert store.ended_with_events() == [job_id]
    store.trim_events(job_id, 5, 6)
    assert store.ended_with_events() == store.events(job_id) == []
    store.append_events(job_id, [Event(6.0, "said by one that came late")])
    assert store.ended_with_events() == [job_id]
    assert seqs(store.events(job_id)) == [6]


def test_how_far_many_jobs_are_is_told_at_once(store: Store, job_id: str) -> None:
    live = store.create_job(make_job()).id
    store.trim_events(job_id, 0, 3)
    store.update_job(
        job_id, lambda job: Change(job.to(JobState.CANCELLED), (Event(5.0, "cancelled"),))
    )
    told = [Told(6, ended=True), Told(0, ended=False), Told(0, ended=False)]
    assert store.told([job_id, live, "ftjob-none"]) == told
    assert store.told([]) == []


def test_a_restored_job_counts_on(store: Store) -> None:
    job = make_job(state=JobState.SUCCEEDED)
    assert store.restore_job(job, events_stored=7)
    store.append_events(job.id, said(1))
    assert seqs(store.events(job.id)) == [7]
    assert not store.restore_job(job, events_stored=0)
    assert store.events_stored(job.id) == 7
