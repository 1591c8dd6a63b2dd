"""Rounds follow each other without a gap, and never pile up."""

from dataclasses import replace

import pytest
from scheduling import RULES, SchedulerBench

from pando_shared.errors import Unavailable
from pando_shared.jobs import JobState


def test_the_next_round_is_planned_as_soon_as_one_begins(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick(3)
    [first] = bench.planned()
    bench.begin(first)
    bench.tick(3)
    [second] = bench.planned()
    assert bench.members(second) == {job.id}
    assert second.assignments == first.assignments
    assert bench.messenger.rounds == [("w1", first.id), ("w1", second.id)]


def test_a_newcomer_joins_the_round_that_has_not_begun(bench: SchedulerBench) -> None:
    bench.worker()
    first_job = bench.job()
    bench.tick()
    [running] = bench.planned()
    bench.begin(running)
    bench.tick()
    [waiting] = bench.planned()
    newcomer = bench.job()
    bench.tick(2)
    [replacement] = bench.planned()
    assert replacement.id != waiting.id
    assert bench.members(replacement) == {first_job.id, newcomer.id}
    assert bench.begin(waiting) is None


def test_a_round_that_begins_meanwhile_is_not_replaced(bench: SchedulerBench) -> None:
    bench.worker()
    bench.job()
    bench.tick()
    [waiting] = bench.planned()
    newcomer = bench.job()
    withdraw = bench.store.withdraw_round

    def begins_first(round_id: str) -> bool:
        bench.begin(waiting)
        return withdraw(round_id)

    bench.store.withdraw_round = begins_first  # type: ignore[method-assign]
    bench.tick()
    assert bench.store.get_job(newcomer.id).state is JobState.QUEUED
    bench.store.withdraw_round = withdraw  # type: ignore[method-assign]
    bench.tick()
    [successor] = bench.planned()
    assert newcomer.id in bench.members(successor)


def test_nothing_to_train_plans_nothing(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    [planned] = bench.planned()
    bench.begin(planned)
    bench.store.update_job(job.id, lambda job: job.to(JobState.SUCCEEDED))
    bench.tick()
    bench.store.end_round(planned.id)
    bench.tick()
    assert bench.store.rounds() == []


def test_a_worker_left_with_a_paused_job_gets_an_empty_round(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    [planned] = bench.planned()
    bench.begin(planned)
    bench.store.end_round(planned.id)
    bench.store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    bench.tick(2)
    [empty] = bench.planned()
    assert empty.assignments == ()
    bench.begin(empty)
    bench.store.update_job(job.id, lambda job: replace(job, lease=None))
    bench.store.end_round(empty.id)
    bench.tick()
    assert bench.store.rounds() == []


def test_rounds_of_an_earlier_process_are_dropped(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    [stale] = bench.planned()
    bench.worker(incarnation="w1-second")
    bench.tick(2)
    [fresh] = bench.planned()
    assert fresh.id != stale.id
    assert fresh.incarnation == "w1-second"
    requeued = bench.store.get_job(job.id)
    assert (requeued.attempts, requeued.state) == (1, JobState.RUNNING)


def test_a_lost_message_is_sent_in_a_new_round(bench: SchedulerBench) -> None:
    bench.worker()
    bench.job()
    bench.tick()
    [lost] = bench.planned()
    for _ in range(11):
        bench.clock.advance((RULES.round_seconds + RULES.message_seconds) / 10)
        bench.worker()
        bench.tick()
    [sent_again] = bench.planned()
    assert sent_again.id != lost.id
    assert bench.begin(lost) is None


def test_a_round_ahead_waits_for_a_long_one_without_losing_its_leases(
    bench: SchedulerBench,
) -> None:
    bench.worker()
    job = bench.job()
    bench.tick()
    [running] = bench.planned()
    bench.begin(running)
    newcomer = bench.job()
    bench.tick()
    for _ in range(20):
        bench.clock.advance(5)
        bench.worker()
        bench.tick()
    assert [bench.store.get_job(j.id).attempts for j in (job, newcomer)] == [0, 0]
    assert [bench.store.get_job(j.id).state for j in (job, newcomer)] == [JobState.RUNNING] * 2
    assert len(bench.planned()) == 1


def test_a_round_whose_end_never_comes_is_given_up(bench: SchedulerBench) -> None:
    bench.worker()
    bench.job()
    bench.tick()
    [stuck] = bench.planned()
    bench.begin(stuck)
    bench.clock.advance(RULES.round_seconds + RULES.overdue_seconds + 1)
    bench.worker()
    bench.tick()
    assert stuck.id not in {planned.id for planned in bench.store.rounds()}


def test_no_broker_means_no_round_is_left_behind(bench: SchedulerBench) -> None:
    bench.worker()
    job = bench.job()
    send = bench.messenger.round

    def refuses(worker_id: str, round_id: str) -> None:
        raise Unavailable("no broker")

    bench.messenger.round = refuses  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        bench.tick()
    assert bench.store.rounds() == []
    bench.messenger.round = send  # type: ignore[method-assign]
    bench.tick()
    [planned] = bench.planned()
    assert bench.members(planned) == {job.id}
    assert bench.store.get_job(job.id).epoch == 1
