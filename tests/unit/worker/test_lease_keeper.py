"""The keeper's single looks at the store: what it renews, says and finds out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from factories import make_job, make_worker

from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.jobs import Job, JobState, Lease, Progress, Yield, YieldCause
from pando_shared.records import Event
from pando_shared.store.stub import StubStore
from pando_shared.workers import Assignment, Round
from pando_worker.lease_keeper import LeaseKeeper, Verdict

LEASE_SECONDS, HEARTBEAT_SECONDS, PUBLISH_SECONDS = 15.0, 2.0, 0.5


@pytest.fixture
def store(clock: FakeClock) -> StubStore:
    return StubStore(clock)


@pytest.fixture
def keeper(store: StubStore, clock: FakeClock) -> LeaseKeeper:
    return LeaseKeeper(
        store,
        clock,
        lambda: make_worker(heartbeat_at=clock.now()),
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        publish_seconds=PUBLISH_SECONDS,
    )


@pytest.fixture
def held(store: StubStore, clock: FakeClock, keeper: LeaseKeeper) -> Job:
    """A job that the keeper looks after; its lease is about to expire."""
    lease = Lease("w1", "w1-first", clock.now() + 1)
    job = make_job(state=JobState.RUNNING, epoch=3, lease=lease)
    store.create_job(job)
    keeper.hold(job.id, 3)
    return job


def look(keeper: LeaseKeeper, clock: FakeClock, seconds: float = PUBLISH_SECONDS) -> None:
    clock.advance(seconds)
    keeper.tick()


def texts(store: StubStore, job: Job) -> list[str]:
    return [event.message for event in store.events(job.id)]


def say(keeper: LeaseKeeper, clock: FakeClock, job: Job, *messages: str) -> None:
    keeper.report(job.id, [Event(clock.now(), message) for message in messages])


def change(store: StubStore, job: Job, **fields: object) -> None:
    store.update_job(job.id, lambda current: replace(current, **fields))


class TestHeartbeats:
    def test_one_every_few_seconds(self, store, keeper, clock):
        beats = []
        for _ in range(50):
            look(keeper, clock, 0.2)
            (worker,) = store.list_workers()
            beats.append(worker.heartbeat_at)
        assert beats[0] == pytest.approx(clock.now() - 49 * 0.2)
        assert 5 <= len(set(beats)) <= 6

    def test_they_go_on_when_a_job_cannot_be_told(self, store, keeper, clock, held, monkeypatch):
        monkeypatch.setattr(store, "append_events", away)
        say(keeper, clock, held, "one")
        for _ in range(20):
            with pytest.raises(Unavailable):
                look(keeper, clock)
        (worker,) = store.list_workers()
        assert clock.now() - worker.heartbeat_at <= HEARTBEAT_SECONDS


class TestLeases:
    def test_a_job_that_comes_has_its_lease_renewed_at_once(self, store, keeper, clock, held):
        look(keeper, clock)
        lease = store.get_job(held.id).lease
        assert lease == Lease("w1", "w1-first", clock.now() + LEASE_SECONDS)

    def test_they_never_come_near_their_end(self, store, keeper, clock, held):
        for _ in range(300):
            look(keeper, clock, 0.2)
            assert store.get_job(held.id).lease.expires_at - clock.now() > LEASE_SECONDS / 2

    def test_nothing_is_renewed_more_often_than_it_must(self, store, keeper, clock, held):
        changes = []
        update = store.update_job
        store.update_job = lambda *args: changes.append(args) or update(*args)
        for _ in range(150):
            look(keeper, clock, 0.2)
        assert len(changes) <= 30 / (LEASE_SECONDS / 3) + 1

    @pytest.mark.parametrize("state", [JobState.PAUSED, JobState.QUEUED])
    def test_a_paused_job_is_held_until_its_checkpoint_is_made(
        self, store, keeper, clock, held, state
    ):
        change(store, held, state=state)
        look(keeper, clock)
        assert store.get_job(held.id).lease.expires_at == clock.now() + LEASE_SECONDS

    def test_a_lease_given_back_is_not_taken_again(self, store, keeper, clock, held):
        look(keeper, clock)
        change(store, held, lease=None)
        keeper.report(held.id, [], Progress(step=7))
        look(keeper, clock, LEASE_SECONDS)
        assert store.get_job(held.id).lease is None

    def test_a_job_that_was_dropped_is_left_alone(self, store, keeper, clock, held):
        say(keeper, clock, held, "never said")
        keeper.drop(held.id)
        look(keeper, clock)
        assert store.get_job(held.id) == held
        assert texts(store, held) == []

    def test_anothers_lease_is_not_touched(self, store, keeper, clock, held):
        theirs = Lease("w2", "w2-first", clock.now() + 5)
        change(store, held, epoch=4, lease=theirs)
        look(keeper, clock)
        assert store.get_job(held.id).lease == theirs


class TestClockJumps:
    @pytest.mark.parametrize("seconds", [3600.0, -3600.0])
    def test_the_lease_is_right_again_at_the_next_look(self, store, keeper, clock, held, seconds):
        look(keeper, clock)
        clock.jump(seconds)
        keeper.tick()
        assert store.get_job(held.id).lease.expires_at == clock.now() + LEASE_SECONDS
        (worker,) = store.list_workers()
        assert worker.heartbeat_at == clock.now()

    @pytest.mark.parametrize("seconds", [3600.0, -3600.0])
    def test_events_go_out_as_before(self, store, keeper, clock, held, seconds):
        look(keeper, clock)
        clock.jump(seconds)
        say(keeper, clock, held, "one")
        keeper.tick()
        say(keeper, clock, held, "two")
        look(keeper, clock)
        assert texts(store, held) == ["one", "two"]


class TestVerdicts:
    def test_none_as_long_as_it_runs(self, keeper, clock, held):
        look(keeper, clock)
        assert keeper.verdicts() == {}

    @pytest.mark.parametrize("state", [JobState.PAUSED, JobState.QUEUED])
    def test_release_if_it_is_not_to_run(self, store, keeper, clock, held, state):
        change(store, held, state=state)
        look(keeper, clock)
        assert keeper.verdicts() == {held.id: Verdict.RELEASE}

    def test_release_if_it_must_give_its_place_up(self, store, keeper, clock, held):
        change(store, held, yielding=Yield(YieldCause.DRAIN, "w1 is drained"))
        look(keeper, clock)
        assert keeper.verdicts() == {held.id: Verdict.RELEASE}
        assert store.get_job(held.id).lease.expires_at == clock.now() + LEASE_SECONDS

    @pytest.mark.parametrize(
        "fields",
        [
            {"epoch": 4},
            {"state": JobState.CANCELLED},
            {"state": JobState.CANCELLED, "epoch": 4},
            {"state": JobState.FAILED},
        ],
        ids=str,
    )
    def test_lost_if_it_is_no_longer_ours(self, store, keeper, clock, held, fields):
        change(store, held, **fields)
        look(keeper, clock)
        assert keeper.verdicts() == {held.id: Verdict.LOST}

    def test_lost_if_it_is_gone(self, keeper, clock):
        keeper.hold("ftjob-gone", 1)
        look(keeper, clock)
        assert keeper.verdicts() == {"ftjob-gone": Verdict.LOST}

    def test_they_stay_until_the_job_is_dropped(self, store, keeper, clock, held):
        change(store, held, epoch=4)
        look(keeper, clock)
        assert keeper.verdicts() == keeper.verdicts() != {}
        keeper.drop(held.id)
        assert keeper.verdicts() == {}

    def test_a_newer_look_replaces_an_older(self, store, keeper, clock, held):
        change(store, held, state=JobState.PAUSED)
        look(keeper, clock, 0.2)
        change(store, held, state=JobState.CANCELLED)
        look(keeper, clock, 0.2)
        assert keeper.verdicts() == {held.id: Verdict.LOST}

    def test_a_look_at_an_earlier_stay_says_nothing_of_a_later(
        self, store, keeper, clock, held, monkeypatch
    ):
        """The job leaves and comes back at a new epoch while the keeper waits for the store."""
        looked = store.get_jobs

        def comes_back(job_ids):
            change(store, held, epoch=4)
            keeper.drop(held.id)
            keeper.hold(held.id, 4)
            return [replace(job, epoch=5) for job in looked(job_ids)]

        monkeypatch.setattr(store, "get_jobs", comes_back)
        look(keeper, clock, 0.2)
        assert keeper.verdicts() == {}


class TestTelling:
    def test_events_go_out_in_order(self, store, keeper, clock, held):
        say(keeper, clock, held, "one", "two")
        assert texts(store, held) == []
        look(keeper, clock)
        say(keeper, clock, held, "three")
        look(keeper, clock)
        assert texts(store, held) == ["one", "two", "three"]

    def test_flushing_says_all_at_once_and_once(self, store, keeper, clock, held):
        say(keeper, clock, held, "one")
        keeper.flush(held.id)
        assert texts(store, held) == ["one"]
        look(keeper, clock)
        assert texts(store, held) == ["one"]
        keeper.flush("ftjob-unknown")

    def test_progress_goes_out_with_the_estimate(self, store, keeper, clock, held):
        change(store, held, progress=Progress(checkpoint_step=4))
        keeper.report(held.id, [], Progress(step=7, checkpoint_step=0), 1e9)
        look(keeper, clock)
        job = store.get_job(held.id)
        assert job.progress == Progress(step=7, checkpoint_step=4)  # the writer of it knows better
        assert job.estimated_finish == 1e9

    @pytest.mark.parametrize("method", ["append_events", "update_job"])
    def test_what_the_store_did_not_take_is_said_later_and_once(
        self, store, keeper, clock, held, monkeypatch, method
    ):
        say(keeper, clock, held, "one")
        keeper.report(held.id, [], Progress(step=7))
        with monkeypatch.context() as patch:
            patch.setattr(store, method, away)
            with pytest.raises(Unavailable):
                look(keeper, clock)
        say(keeper, clock, held, "two")
        look(keeper, clock)
        assert texts(store, held) == ["one", "two"]
        assert store.get_job(held.id).progress.step == 7

    def test_flushing_into_the_void_keeps_what_was_to_be_said(
        self, store, keeper, clock, held, monkeypatch
    ):
        say(keeper, clock, held, "one")
        with monkeypatch.context() as patch:
            patch.setattr(store, "append_events", away)
            with pytest.raises(Unavailable):
                keeper.flush(held.id)
        keeper.flush(held.id)
        assert texts(store, held) == ["one"]

    def test_a_stale_writer_says_nothing_more(self, store, keeper, clock, held):
        change(store, held, epoch=4)
        say(keeper, clock, held, "stale")
        look(keeper, clock)
        assert texts(store, held) == []
        assert keeper.verdicts() == {held.id: Verdict.LOST}


class TestWhoWaits:
    def planned(self, *assignments: Assignment, **fields: object) -> Round:
        base = Round("r1", "w1", "w1-first", "tiny", assignments, 20.0, 1, 0.0)
        return replace(base, **fields)

    def test_a_request_for_text(self, store, keeper, clock):
        look(keeper, clock)
        assert not keeper.somebody_waits()
        store.request_sample("w1", "s1")
        look(keeper, clock)
        assert keeper.somebody_waits()
        store.sample_done("w1", "s1")
        look(keeper, clock)
        assert not keeper.somebody_waits()

    def test_a_job_that_is_to_join(self, store, keeper, clock, held):
        store.plan_round(self.planned(Assignment(held.id, 3)))
        look(keeper, clock)
        assert not keeper.somebody_waits()
        store.plan_round(self.planned(Assignment(held.id, 3), Assignment("newcomer", 1)))
        look(keeper, clock)
        assert keeper.somebody_waits()

    def test_a_job_that_is_to_leave(self, store, keeper, clock, held):
        keeper.hold("ftjob-other", 1)
        store.create_job(make_job("ftjob-other", state=JobState.RUNNING, epoch=1))
        both = Assignment(held.id, 3), Assignment("ftjob-other", 1)
        store.plan_round(self.planned(*both))
        look(keeper, clock)
        assert not keeper.somebody_waits()
        store.plan_round(self.planned(both[0]))
        look(keeper, clock)
        assert keeper.somebody_waits()
        store.plan_round(self.planned())
        look(keeper, clock)
        assert keeper.somebody_waits()

    @pytest.mark.parametrize(
        "fields",
        [{"worker_id": "w2"}, {"started_at": 1.0}, {"incarnation": "w1-earlier"}],
        ids=str,
    )
    def test_no_job_that_joins_elsewhere_or_is_about_to(self, store, keeper, clock, held, fields):
        store.plan_round(self.planned(Assignment("newcomer", 1), **fields))
        look(keeper, clock)
        assert not keeper.somebody_waits()

    def test_no_job_where_none_would_have_to_make_way(self, store, keeper, clock, monkeypatch):
        monkeypatch.setattr(store, "rounds_of", away)
        look(keeper, clock)
        assert not keeper.somebody_waits()


def test_the_thread_ticks_on_through_an_outage(store, clock, held, monkeypatch):
    """The one test with a real thread: an error does not end it, `stop` does."""
    ticked: list[Callable[[], None]] = []
    keeper = LeaseKeeper(
        store,
        clock,
        make_worker,
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        poll_seconds=0.001,
    )

    def failing_tick() -> None:
        ticked.append(failing_tick)
        if len(ticked) >= 3:
            keeper._stopped.set()
        raise Unavailable("the store is away")

    monkeypatch.setattr(keeper, "tick", failing_tick)
    keeper.start()
    keeper._thread.join(timeout=10)
    keeper.stop()
    assert len(ticked) == 3


def away(*_: object) -> None:
    raise Unavailable("the store is away")
