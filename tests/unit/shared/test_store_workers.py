"""Workers, rounds, samples and signals in every store."""

import math
import threading
import time
from dataclasses import replace

import pytest
from factories import make_job, make_worker

from pando_shared.clock import FakeClock
from pando_shared.jobs import JobState
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.values import SAMPLE_REQUEST_SECONDS
from pando_shared.workers import Assignment, Round, SampleChunk

PLANNED = Round("round-1", "w1", "w1-first", "tiny", (Assignment("ftjob-1", 4),), 20.0, 900, 1.0)


def test_workers_report_and_are_removed(store: Store) -> None:
    second, first = make_worker("w2"), make_worker("w1")
    store.put_worker(second)
    store.put_worker(first)
    newer = replace(first, peak_bytes=77)
    store.put_worker(newer)
    assert store.list_workers() == [newer, second]
    store.remove_worker("w1")
    store.remove_worker("w1")
    assert store.list_workers() == [second]


def test_a_worker_whose_record_cannot_be_read_takes_no_other_down(redis_url: str) -> None:
    """JSON has no NaN, so what is written in its place is no number."""
    redis_store = RedisStore(redis_url)
    good = make_worker("w1")
    redis_store.put_worker(good)
    redis_store.put_worker(make_worker("w2", tokens_per_second=math.nan))
    assert redis_store.list_workers() == [good]
    redis_store.put_worker(make_worker("w2"))
    assert redis_store.list_workers() == [good, make_worker("w2")]
    redis_store.close()


def test_a_worker_is_drained_until_it_is_no_more(store: Store) -> None:
    store.set_draining("w1", 1_700_000_000.123456)
    store.set_draining("w2", 7)
    store.set_draining("w2", 8.0)
    assert store.draining() == {"w1": 1_700_000_000.123456, "w2": 8.0}
    store.put_worker(make_worker("w1"))
    store.remove_worker("w1")
    store.set_draining("w2", None)
    store.set_draining("w3", None)
    assert store.draining() == {"w1": 1_700_000_000.123456}


def test_draining_wakes_the_scheduler(store: Store) -> None:
    for since in (1.0, None):
        store.set_draining("w1", since)
        assert seconds_waited(store, 5.0) < 1.0


def test_a_round_begins_once_and_only_for_its_worker(store: Store) -> None:
    store.plan_round(PLANNED)
    assert store.begin_round("round-1", "w2", "w1-first", 2.0) is None
    assert store.begin_round("round-1", "w1", "w1-second", 2.0) is None
    assert store.begin_round("round-2", "w1", "w1-first", 2.0) is None
    assert store.begin_round("round-1", "w1", "w1-first", 2.0) == replace(PLANNED, started_at=2.0)
    assert store.begin_round("round-1", "w1", "w1-first", 2.0) is None
    assert store.rounds() == [replace(PLANNED, started_at=2.0)]
    store.end_round("round-1")
    store.end_round("round-1")
    assert store.rounds() == []


def test_a_workers_rounds_are_found_by_its_name(store: Store) -> None:
    other = replace(PLANNED, id="round-2", worker_id="w2")
    earlier = replace(PLANNED, id="round-3", planned_at=0.5)
    for planned in (PLANNED, other, earlier):
        store.plan_round(planned)
    assert store.rounds_of("w1") == [earlier, PLANNED]
    assert store.rounds_of("w2") == [other]
    assert store.rounds_of("w3") == []
    begun = store.begin_round("round-1", "w1", "w1-first", 2.0)
    assert store.rounds_of("w1") == [earlier, begun]
    store.withdraw_round("round-3")
    store.end_round("round-1")
    assert store.rounds_of("w1") == []


def test_only_a_round_that_has_not_begun_can_be_withdrawn(store: Store) -> None:
    store.plan_round(PLANNED)
    store.plan_round(replace(PLANNED, id="round-0", planned_at=0.5))
    assert [planned.id for planned in store.rounds()] == ["round-0", "round-1"]
    assert store.withdraw_round("round-0")
    assert not store.withdraw_round("round-0")
    store.begin_round("round-1", "w1", "w1-first", 2.0)
    assert not store.withdraw_round("round-1")
    assert [planned.id for planned in store.rounds()] == ["round-1"]


def test_one_of_many_claims_wins(store: Store) -> None:
    store.plan_round(PLANNED)
    claims: list[Round | None] = []
    threads = [
        threading.Thread(
            target=lambda i=i: claims.append(
                store.begin_round("round-1", "w1", "w1-first", 2.0 + i)
            )
        )
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in claims) == 1


def test_sample_chunks_are_read_from_where_the_reader_is(store: Store) -> None:
    chunks = [SampleChunk("Once", 1), SampleChunk(" upon", 1), SampleChunk("", 0, 5, "stop")]
    store.push_sample_chunks("s1", chunks[:2])
    store.push_sample_chunks("s1", [])
    store.push_sample_chunks("s1", chunks[2:])
    assert store.sample_chunks("s1", 0) == chunks
    assert store.sample_chunks("s1", 2) == chunks[2:]
    assert store.sample_chunks("s1", 3) == store.sample_chunks("s2", 0) == []


def test_samples_wait_until_done_or_forgotten(store: Store, clock: FakeClock) -> None:
    store.request_sample("w1", "s1")
    store.request_sample("w1", "s2")
    store.request_sample("w2", "s3")
    assert store.samples_waiting("w1") == 2
    store.sample_done("w1", "s1")
    store.sample_done("w1", "s1")
    assert store.samples_waiting("w1") == 1
    clock.advance(SAMPLE_REQUEST_SECONDS + 1)
    assert store.samples_waiting("w1") == store.samples_waiting("w3") == 0


def seconds_waited(store: Store, longest: float) -> float:
    begin = time.monotonic()
    store.wait(longest)
    return time.monotonic() - begin


def test_a_wake_before_the_wait_is_not_lost_and_counts_once(store: Store) -> None:
    store.wake()
    store.wake()
    assert seconds_waited(store, 5.0) < 1.0
    assert seconds_waited(store, 0.05) >= 0.04


def test_a_wake_ends_a_wait(store: Store) -> None:
    timer = threading.Timer(0.1, store.wake)
    timer.start()
    assert seconds_waited(store, 5.0) < 2.0
    timer.join()


@pytest.mark.parametrize("longest", [1e-6, 0.0005, 0.001, 0.0015])
def test_the_shortest_wait_is_no_long_one(store: Store, longest: float) -> None:
    store.wake()
    seconds_waited(store, 1.0)
    assert seconds_waited(store, longest) < 1.0


def test_what_the_scheduler_must_see_wakes_it(store: Store) -> None:
    job = store.create_job(make_job())
    store.plan_round(PLANNED)
    seconds_waited(store, 0.01)
    store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    assert seconds_waited(store, 5.0) < 1.0
    store.begin_round("round-1", "w1", "w1-first", 2.0)
    assert seconds_waited(store, 5.0) < 1.0
    store.end_round("round-1")
    assert seconds_waited(store, 5.0) < 1.0


def test_an_update_within_a_state_wakes_nobody(store: Store) -> None:
    job = store.create_job(make_job())
    seconds_waited(store, 0.01)
    store.update_job(job.id, lambda job: replace(job, preemptions=1))
    assert seconds_waited(store, 0.05) >= 0.04


def test_a_store_that_is_there_answers(store: Store) -> None:
    assert store.ping()
