"""What is learnt is kept in the store, and whoever leads next goes on from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import EPOCH_START, SMALL_BASE, make_worker

from pando_scheduler.cluster import Cluster
from pando_scheduler.knowledge import Knowledge
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.mirror import Mirror
from pando_scheduler.picture import Reservation
from pando_scheduler.rules import Rules
from pando_shared.adapters import LoraConfig
from pando_shared.calibration import UNLEARNT, calibration_key, read_calibration
from pando_shared.clock import FakeClock
from pando_shared.forecasts import Usage
from pando_shared.policy import Policy
from pando_shared.reports import JobService, Probe, RoundReport
from pando_shared.speed import assumed_speed, read_speed, speed_key
from pando_shared.store.stub import StubStore

NOW = EPOCH_START
HALF_LIFE = 1000.0
KEY = ("small", "card")
WORKER = make_worker(
    device="cuda:0",
    device_kind="card",
    base_model="small",
    models=("small",),
    budget_bytes=1 << 30,
    resident_bytes=1000,
)


class Head:
    """One scheduler's knowledge, and all that it rests on."""

    def __init__(self, store: StubStore):
        self.cluster = Cluster(Policy(usage_half_life_seconds=HALF_LIFE), predict := _predictor())
        self.predict = predict
        self.mirror = Mirror(
            store, self.cluster, predict, Rules(lease_seconds=1e9), lambda *_: None
        )
        self.knowledge = Knowledge(store, self.cluster, predict, self.mirror)

    def learn(self, now: float) -> None:
        self.mirror.look(now)
        self.knowledge.learn(now)


def _predictor() -> LearntPredictor:
    return LearntPredictor({"small": SMALL_BASE}, start_headroom=0.10)


@pytest.fixture
def store(clock: FakeClock) -> StubStore:
    store = StubStore(clock)
    store.put_worker(WORKER)
    return store


@pytest.fixture
def head(store: StubStore) -> Head:
    return Head(store)


def report(**fields: object) -> RoundReport:
    """Twice as many bytes as predicted; 40,000 tokens in 20 s."""
    service = JobService("ftjob-1", LoraConfig(rank=8), 40_000, 10, 4000.0)
    told = RoundReport(
        worker_id=WORKER.id,
        incarnation=WORKER.incarnation,
        base_model="small",
        device="card",
        jobs=(service,),
        seconds=20.0,
        microbatch_tokens=512,
        longest=0,
        resident_bytes=1000,
        predicted_bytes=200_000,
        measured_bytes=400_000,
    )
    return replace(told, **fields)  # type: ignore[arg-type]


def test_a_round_teaches_memory_and_speed(store: StubStore, head: Head) -> None:
    store.push_report(report())
    head.learn(NOW)
    assert head.knowledge.calibrations[KEY].errors.recent == (1.0,)  # 400 over 200, less 1
    # Alone it was to train its 4,000 tokens in the floor of 8,192 / 20,000 s: 9,766 a second.
    found = head.knowledge.speeds[KEY]
    error = 2000 / (4000 / (8192 / 20_000)) - 1
    assert found.errors.recent == pytest.approx((error,), abs=1e-6)
    assert found.alone_tokens_per_second(4000.0, "lora") < assumed_speed(
        "cuda:0"
    ).alone_tokens_per_second(4000.0, "lora")
    # A report is taken once.
    assert store.take_reports() == []
    head.learn(NOW + 1)
    assert head.knowledge.calibrations[KEY].errors.rounds == 1


def test_it_is_kept_as_it_is_learnt(store: StubStore, head: Head) -> None:
    store.push_report(report())
    head.learn(NOW)
    head.knowledge.keep(NOW)
    kept = store.learnt()
    assert set(kept) == {calibration_key(*KEY), speed_key(*KEY)}
    assert read_calibration(kept, *KEY) == head.knowledge.calibrations[KEY]
    assert read_speed(kept, *KEY) == head.knowledge.speeds[KEY]


def test_whoever_leads_next_goes_on_from_there(store: StubStore, head: Head) -> None:
    store.push_report(report())
    head.learn(NOW)
    head.knowledge.keep(NOW)
    heir = Head(store)
    heir.knowledge.recall(NOW)
    assert heir.knowledge.calibrations == head.knowledge.calibrations
    assert heir.knowledge.speeds == head.knowledge.speeds
    heir.mirror.look(NOW)
    view = heir.cluster.workers[WORKER.id]
    # Until 20 rounds are seen head-room is what was off, and never more than the prediction itself.
    assert heir.predict.headroom(view, "small") == pytest.approx(1.0)
    assert _predictor().headroom(view, "small") == pytest.approx(0.10)


def test_what_is_not_understood_is_learnt_anew(store: StubStore, head: Head) -> None:
    store.put_learnt(calibration_key(*KEY), '{"of": "another version"}')
    store.put_learnt(speed_key(*KEY), "no json")
    store.put_learnt("weather|small|card", "rain")
    head.knowledge.recall(NOW)
    assert head.knowledge.calibrations == {KEY: UNLEARNT}
    assert head.knowledge.speeds == {KEY: assumed_speed("gpu")}


@pytest.mark.parametrize(
    "change",
    [
        {"worker_id": "w9"},
        {"incarnation": "w1-before"},
        {"base_model": "unknown"},
    ],
)
def test_nothing_is_learnt_from_who_is_not_known(
    store: StubStore, head: Head, change: dict[str, object]
) -> None:
    store.push_report(report(**change))
    head.learn(NOW)
    assert head.knowledge.speeds == {}
    assert store.learnt() == {}
    assert head.predict.version == 0


def test_decisions_go_by_it_every_ten_seconds(store: StubStore, head: Head) -> None:
    versions = []
    for second in (0, 1, 9, 10, 11, 20, 35):
        if second != 35:
            # Each round is slower than the last, by far more than what is no news.
            store.push_report(report(seconds=10.0 * (second + 1)))
        head.learn(NOW + second)
        versions.append(head.predict.version)
    # At once, then at 10 and at 20; at 35 there is nothing new.
    assert versions == [1, 1, 1, 2, 2, 3, 3]


def test_what_hardly_differs_is_no_reason_to_look_at_everything_anew(
    store: StubStore, head: Head
) -> None:
    for second in range(0, 2000, 10):
        store.push_report(report())
        head.learn(NOW + second)
    settled = head.predict.version
    for second in range(2000, 2100, 10):
        store.push_report(report())
        head.learn(NOW + second)
    assert head.predict.version == settled < 100


def test_what_was_learnt_in_between_is_not_forgotten(store: StubStore, head: Head) -> None:
    store.push_report(report())
    head.learn(NOW)
    store.push_report(report(seconds=99.0))
    head.learn(NOW + 1)
    head.cluster.settle(NOW + 1)
    head.learn(NOW + 9.9)
    assert (head.predict.version, head.cluster.dirty) == (1, set())
    head.learn(NOW + 10)
    assert (head.predict.version, head.cluster.dirty) == (2, {WORKER.id})


def test_a_clock_that_was_set_back_holds_nothing_up(store: StubStore, head: Head) -> None:
    store.push_report(report())
    head.learn(NOW)
    store.push_report(report(seconds=99.0))
    head.learn(NOW - 5000)
    assert head.predict.version == 2


def test_a_probe_is_used_once_and_only_before_any_round(store: StubStore, head: Head) -> None:
    store.put_worker(replace(WORKER, probe=Probe("small", (64, 256), (200_000, 800_000))))
    head.learn(NOW)
    probed = head.knowledge.calibrations[KEY]
    assert probed.probed
    assert probed.step != 1.0
    assert probed.errors.rounds == 0
    head.knowledge.keep(NOW)
    assert read_calibration(store.learnt(), *KEY) == probed
    assert head.predict.version == 1
    head.learn(NOW + 10)
    assert head.predict.version == 1
    assert head.knowledge.calibrations[KEY] == probed


def test_a_probe_of_an_unknown_base_teaches_nothing(store: StubStore, head: Head) -> None:
    store.put_worker(replace(WORKER, probe=Probe("unknown", (64, 256), (200_000, 800_000))))
    head.learn(NOW)
    assert store.learnt() == {}


def test_what_ran_out_of_memory_is_believed_less(store: StubStore, head: Head) -> None:
    store.push_report(report(out_of_memory=1))
    head.learn(NOW)
    head.mirror.look(NOW)
    assert head.cluster.workers[WORKER.id].kind.budget_bytes == 380_000  # 0.95 of 400,000


def test_use_is_kept_every_five_seconds_as_of_then(store: StubStore, head: Head) -> None:
    head.cluster.accounts.recall({"acme": Usage("acme", 100.0, NOW - HALF_LIFE)}, NOW)
    head.knowledge.keep(NOW)
    assert store.usage() == {"acme": Usage("acme", pytest.approx(50.0), NOW)}
    head.knowledge.keep(NOW + 4.9)
    assert store.usage()["acme"].at == NOW
    head.knowledge.keep(NOW + 5)
    assert store.usage()["acme"].at == NOW + 5
    heir = Head(store)
    heir.knowledge.recall(NOW + HALF_LIFE)
    meter = heir.cluster.accounts.meters["acme"]
    assert meter.read(NOW + HALF_LIFE, HALF_LIFE) == pytest.approx(25.0)


def test_reservations_are_kept_at_once_and_only_when_they_change(
    store: StubStore, head: Head
) -> None:
    kept = Reservation("ftjob-1", WORKER.id, NOW + 600)
    head.knowledge.keep(NOW)
    assert store.learnt() == {}
    head.cluster.reservations[kept.job_id] = kept
    head.knowledge.keep(NOW + 0.5)
    heir = Head(store)
    heir.knowledge.recall(NOW + 1)
    assert heir.cluster.reservations == {"ftjob-1": kept}
    store.put_learnt("reservations", "as it was")
    heir.knowledge.keep(NOW + 1)  # it knows no others
    assert store.learnt()["reservations"] == "as it was"
    del heir.cluster.reservations["ftjob-1"]
    heir.knowledge.keep(NOW + 2)
    assert store.learnt()["reservations"] == "[]"


def test_reservations_of_another_version_are_made_anew() -> None:
    store = StubStore(FakeClock())
    for text in ('[{"job": "x"}]', "no JSON"):
        store.put_learnt("reservations", text)
        head = Head(store)
        head.knowledge.recall(0.0)
        assert head.cluster.reservations == {}
