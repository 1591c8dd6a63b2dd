"""Jobs with integrations are exported while they train and when they end; others never."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from factories import make_job
from scheduling import SchedulerBench

from pando_scheduler.exporting import EVERY_SECONDS, Exporting
from pando_scheduler.mirror import Mirror
from pando_shared.errors import Unavailable
from pando_shared.integrations import TensorBoard
from pando_shared.jobs import Job, JobState
from pando_shared.records import Event


def asking(bench: SchedulerBench, state: JobState = JobState.QUEUED, **fields: object) -> Job:
    """A job with an integration."""
    plain = make_job(state=state, **fields)  # type: ignore[arg-type]
    spec = replace(plain.spec, integrations=(TensorBoard(),))
    return bench.store.create_job(replace(plain, spec=spec))


def end(bench: SchedulerBench, job: Job) -> None:
    now = bench.clock.now()
    bench.store.update_job(job.id, lambda job: replace(job.to(JobState.SUCCEEDED), finished_at=now))


@pytest.mark.parametrize("forgets", [False, True], ids=["", "the store has restarted meanwhile"])
def test_a_job_is_exported_once_when_it_ends(
    bench: SchedulerBench, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    bench.worker()
    job, other = asking(bench), bench.job()
    bench.tick(2)
    assert bench.messenger.exported == []
    end(bench, bench.store.get_job(job.id))
    end(bench, bench.store.get_job(other.id))
    if forgets:
        changed = bench.store.changed_jobs
        monkeypatch.setattr(bench.store, "changed_jobs", lambda _: changed(None))
    bench.advance(1)
    bench.tick()
    bench.store.update_job(job.id, lambda job: replace(job, result_files=("file-1",)))
    bench.advance(1)
    bench.tick()
    assert bench.messenger.exported == [job.id]


def test_one_that_trains_is_exported_ever_more_seldom(bench: SchedulerBench) -> None:
    bench.worker()
    job = asking(bench)
    bench.tick(2)
    begun = bench.clock.now()
    bench.store.update_job(job.id, lambda job: replace(job, started_at=begun))
    assert bench.store.get_job(job.id).state is JobState.RUNNING
    sent = [begun]
    for _ in range(3600):
        bench.advance(2)
        bench.tick()
        if len(bench.messenger.exported) >= len(sent):
            sent.append(bench.clock.now())
    gaps = [later - sooner for sooner, later in pairwise(sent)]
    assert EVERY_SECONDS <= gaps[0] <= EVERY_SECONDS + 2
    assert min(gaps) >= EVERY_SECONDS
    for gap, at in zip(gaps[1:], sent[1:], strict=False):
        assert gap <= max(EVERY_SECONDS, 0.05 * (at - begun)) + 2  # and the look's own grain
    assert gaps[-1] > 300


def test_what_the_broker_does_not_take_is_sent_later(
    bench: SchedulerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.worker()
    job = asking(bench)
    bench.tick(2)
    end(bench, bench.store.get_job(job.id))

    def away(job_id: str) -> None:
        raise Unavailable("the broker is away")

    bench.advance(1)
    with monkeypatch.context() as patched:
        patched.setattr(bench.messenger, "export", away)
        with pytest.raises(Unavailable):
            bench.tick()
    bench.advance(1)
    bench.tick()
    assert bench.messenger.exported == [job.id]


def test_a_successor_sends_what_has_just_ended(bench: SchedulerBench) -> None:
    recent, before = asking(bench, JobState.RUNNING), asking(bench, JobState.RUNNING)
    for job in (recent, before, bench.job(state=JobState.RUNNING)):
        bench.store.append_events(job.id, [Event(0.0, "it ends")])
        end(bench, bench.store.get_job(job.id))
    bench.store.trim_events(before.id, 0, 1)  # its events are in storage, and told
    mirror: Mirror = bench.loop._mirror
    exporting = Exporting(bench.store, mirror, bench.messenger)
    exporting.recall()
    exporting.look(bench.clock.now())
    assert bench.messenger.exported == [recent.id]
