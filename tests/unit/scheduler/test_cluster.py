"""The picture of the cluster, kept change by change. Workers have 100 bytes; a job takes its bytes
of them, and its percents of their tokens."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from cluster_world import Figures, job, placed, worker

from pando_scheduler.cluster import RELOOK_SECONDS, Cluster
from pando_scheduler.picture import JobView, Load, Reservation, WorkerKind, WorkerView
from pando_scheduler.worker_lists import LOAD_STEPS
from pando_shared.footprint import Footprint
from pando_shared.forecasts import Usage
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy, TenantPolicy

HALF_LIFE = 1000.0
POLICY = Policy(
    classes={
        Priority.HIGH: ClassPolicy(0.0, 1.25),
        Priority.NORMAL: ClassPolicy(300.0, 1.5),
        Priority.LOW: ClassPolicy(None, 2.0),
    },
    usage_half_life_seconds=HALF_LIFE,
)


def cluster_of(*things: WorkerView | JobView, policy: Policy = POLICY) -> Cluster:
    """Settled: nothing in it is new."""
    cluster = Cluster(policy, Figures())
    for thing in things:
        if isinstance(thing, WorkerView):
            cluster.put_worker(thing, 0.0)
        else:
            cluster.put_job(thing, 0.0)
    cluster.settle(0.0)
    return cluster


def sized(budget: int, resident: int) -> WorkerView:
    kind = WorkerKind("cuda:0", "card", budget, 1024, base_model="a", resident_bytes=resident)
    return WorkerView("w1", kind)


def test_a_job_is_new_when_it_comes_and_when_what_it_asks_for_changes() -> None:
    cluster = cluster_of(worker())
    one = job("x", seconds=600.0)
    cluster.put_job(one, 0.0)
    assert cluster.fresh == {"x"}
    cluster.settle(0.0)
    # 600 s and 500 s are of one octave; 3,600 s are of another.
    cluster.put_job(replace(one, seconds_left=500.0), 1.0)
    assert cluster.fresh == set()
    assert cluster.find("x").seconds_left == 500.0
    for change in ({"seconds_left": 3600.0}, {"held": "its rung is open"}, {"alone": True}):
        cluster.settle(0.0)
        cluster.put_job(replace(one, **change), 1.0)
        assert cluster.fresh == {"x"}, change
        cluster.put_job(one, 1.0)


def test_a_load_adds_up_what_is_on_a_worker() -> None:
    jobs = [
        replace(placed(job("x", took=20, percent=50), "w1"), ends_at=700.0),
        replace(placed(job("y", took=30, percent=25, rank=Priority.HIGH), "w1"), ends_at=90.0),
    ]
    cluster = cluster_of(worker(), *jobs)
    expected = Load("a", 2, Footprint(2, 50), 0.75, 1.25, 90.0, 700.0, alone=False)
    assert cluster.loads["w1"] == expected
    cluster.put_job(replace(jobs[0], alone=True), 0.0)
    assert cluster.loads["w1"] == replace(expected, alone=True)
    cluster.drop_job("x", 0.0)
    assert cluster.loads["w1"] == Load("a", 1, Footprint(1, 30), 0.25, 1.25, 90.0, 90.0)
    cluster.drop_job("y", 0.0)
    assert cluster.loads["w1"] == Load()


def test_a_job_is_found_where_it_is() -> None:
    waiting = job("x")
    cluster = cluster_of(worker("w1"), worker("w2"), waiting)
    assert cluster.find("x") is waiting
    assert list(cluster.placed()) == []
    for worker_id in ("w1", "w2"):
        there = placed(waiting, worker_id)
        cluster.put_job(there, 0.0)
        assert cluster.find("x") is there
        assert "x" not in cluster.waiting
        assert list(cluster.placed()) == [there]
        assert cluster.on(worker_id) == {"x": there}
    assert cluster.on("w1") == {}
    assert cluster.loads["w1"] == Load()
    assert cluster.dirty == {"w1", "w2"}
    cluster.put_job(waiting, 0.0)
    assert "x" in cluster.waiting
    assert cluster.fresh == {"x"}
    assert cluster.loads["w2"] == Load()
    cluster.drop_job("x", 0.0)
    assert cluster.find("x") is None
    assert cluster.fresh == set()
    cluster.drop_job("x", 0.0)  # of nobody: nothing happens


def test_progress_is_no_news_to_a_worker_but_its_end_is_known() -> None:
    there = replace(placed(job("x"), "w1"), ends_at=500.0)
    cluster = cluster_of(worker(), there)
    cluster.put_job(replace(there, seconds_left=10.0, ends_at=450.0), 1.0)
    assert cluster.dirty == set()
    assert (cluster.loads["w1"].shortest, cluster.loads["w1"].longest) == (450.0, 450.0)
    cluster.put_job(replace(there, ends_at=450.0, yielding=True), 2.0)
    assert cluster.dirty == {"w1"}


def test_only_who_trains_and_stays_may_be_told_to_leave() -> None:
    there = placed(job("x"), "w1")
    cluster = cluster_of(worker(), there)

    def running() -> list[str]:
        found = cluster.running.longest_first("a", lambda rank: True, {}, 0.0)
        return [one.id for one in found]

    assert running() == ["x"]
    cluster.put_job(replace(there, yielding=True), 0.0)
    assert running() == []
    cluster.put_job(there, 0.0)
    assert running() == ["x"]
    cluster.put_job(replace(there, running=False), 0.0)
    assert running() == []
    # It still holds its memory.
    assert cluster.loads["w1"].count == 1


def test_what_a_tenant_frees_under_its_limit_is_news_to_its_other_jobs() -> None:
    jobs = [placed(job("x"), "w1"), job("y"), job("z", tenant="u")]
    limited = replace(POLICY, tenants={"t": TenantPolicy(limit=1.0)})
    more = placed(job("more"), "w1")
    for policy, there, fresh in (
        (limited, [*jobs, more], {"y"}),
        (POLICY, [*jobs, more], set()),
        # A tenant that has no place left may join where it adds nothing.
        (POLICY, jobs, {"y"}),
    ):
        cluster = cluster_of(worker(), *there, policy=policy)
        cluster.drop_job("x", 0.0)
        assert cluster.fresh == fresh


def test_a_worker_that_has_not_changed_is_no_news() -> None:
    cluster = cluster_of(worker("w1"), worker("w2"))
    cluster.put_worker(worker("w1"), 1.0)
    assert cluster.dirty == set()
    cluster.put_worker(replace(worker("w1"), draining=True), 1.0)
    assert cluster.dirty == {"w1"}


def test_idle_workers_are_known_by_base_the_smallest_first() -> None:
    cluster = cluster_of(
        worker("w1", 300, "a"), worker("w2", 100, "a"), worker("w3", 200, "b"), worker("w4")
    )
    assert cluster.lists.idle("a") == [(100, "w2"), (300, "w1")]
    assert cluster.lists.idle(None) == [(100, "w4")]
    assert cluster.lists.idle("c") == []
    assert cluster.lists.idle_bases() == [None, "a", "b"]
    cluster.put_job(placed(job("x"), "w2"), 0.0)
    assert cluster.lists.idle("a") == [(300, "w1")]
    cluster.put_worker(worker("w1", 50, "b"), 0.0)
    assert cluster.lists.idle("b") == [(50, "w1"), (200, "w3")]
    assert cluster.lists.idle_bases() == [None, "b"]
    cluster.drop_job("x", 0.0)
    assert cluster.lists.idle("a") == [(100, "w2")]
    cluster.drop_worker("w2", 0.0)
    assert cluster.lists.idle("a") == []


@pytest.mark.parametrize(
    ("percents", "step"),
    [((1,), 0), ((12,), 0), ((13,), 1), ((50,), 4), ((50, 50), 8), ((90, 90, 90), 16)],
)
def test_workers_in_use_are_known_by_eighths_of_their_demand(
    percents: tuple[int, ...], step: int
) -> None:
    jobs = [placed(job(f"x{i}", percent=p), "w1") for i, p in enumerate(percents)]
    cluster = cluster_of(worker(base="b"), *jobs)  # it is about to load theirs
    steps = cluster.lists.busy("a")
    assert len(steps) == LOAD_STEPS
    assert [i for i, ids in enumerate(steps) if ids] == [step]
    assert steps[step] == ["w1"]
    assert not any(cluster.lists.busy("b"))
    assert cluster.lists.idle("b") == []


def test_jobs_of_a_worker_that_is_gone_stay_its_own() -> None:
    there = placed(job("x", percent=80), "w1")
    cluster = cluster_of(worker(base="a"), there)
    cluster.drop_worker("w1", 10.0)
    assert cluster.workers == {}
    assert cluster.loads == {}
    assert cluster.dirty == set()
    assert not any(cluster.lists.busy("a"))
    assert cluster.find("x") is there
    assert cluster.accounts.in_use == {}
    assert cluster.accounts.claims == {}
    cluster.put_job(replace(there, ends_at=9.0), 20.0)  # its last word may come late
    cluster.put_worker(worker(base="a"), 30.0)
    assert cluster.loads["w1"].count == 1
    assert cluster.accounts.in_use == {"t": pytest.approx(0.8)}
    cluster.drop_worker("w9", 30.0)  # of nobody: nothing happens


def test_a_worker_that_goes_frees_the_job_that_waits_for_it() -> None:
    cluster = cluster_of(worker("w1"), worker("w2"), job("x"), job("y"))
    kept = [Reservation("x", "w1", 9.0), Reservation("y", "w2", 9.0)]
    cluster.reservations = {found.job_id: found for found in kept}
    cluster.drop_worker("w1", 0.0)
    assert set(cluster.reservations) == {"y"}
    assert cluster.fresh == {"x"}
    cluster.drop_job("y", 0.0)
    assert cluster.reservations == {}


@pytest.mark.parametrize(
    ("view", "took", "percent", "demand", "share"),
    [
        (sized(100, 0), 10, 50, 0.5, 0.5),  # its tokens
        (sized(100, 0), 10, 50, 2.0, 0.25),  # a quarter of them, where others want three
        (sized(100, 0), 70, 20, 0.2, 0.7),  # its memory
        (sized(100, 20), 40, 20, 0.2, 0.5),  # of what the base leaves
        (sized(100, 20), 90, 20, 0.2, 1.0),  # one worker is the most
        (sized(100, 100), 40, 20, 0.2, 0.2),
    ],
)
def test_a_share_is_of_tokens_or_of_memory(
    view: WorkerView, took: int, percent: int, demand: float, share: float
) -> None:
    one = job("x", took=took, percent=percent)
    assert cluster_of().share_of(one, view, demand) == pytest.approx(share)


def test_tenants_are_charged_what_their_jobs_take_and_what_they_may_come_to_take() -> None:
    jobs = [
        placed(job("x", tenant="t", percent=80), "w1"),
        placed(job("y", tenant="u", percent=80), "w1"),
        placed(job("z1", tenant="u", percent=80), "w2"),
        placed(job("z2", tenant="u", percent=40), "w2"),
    ]
    cluster = cluster_of(worker("w1"), worker("w2"), *jobs)
    # Half of the first each; the second is all u's, who is charged no more than it.
    assert cluster.accounts.in_use == {"t": pytest.approx(0.5), "u": pytest.approx(1.5)}
    # If the others left, 0.8 of the first each.
    assert cluster.accounts.claims == {"t": pytest.approx(0.8), "u": pytest.approx(1.8)}
    assert cluster.accounts.claim_on("u", "w2") == pytest.approx(1.0)
    assert cluster.accounts.claim_on("t", "w2") == 0.0
    cluster.drop_job("x", 0.0)
    assert cluster.accounts.in_use == {"u": pytest.approx(1.8)}
    assert cluster.accounts.claims == {"u": pytest.approx(1.8)}


def test_use_is_metered_from_change_to_change() -> None:
    cluster = cluster_of(worker())
    cluster.put_job(placed(job("x", percent=50), "w1"), 100.0)
    cluster.drop_job("x", 600.0)
    # dU/dt = 1/2 - U ln2 / 1,000 for 500 s from nothing; then it halves in 1,000 s.
    steps, used = 200_000, 0.0
    for _ in range(steps):
        used += (0.5 - used * math.log(2) / HALF_LIFE) * 500.0 / steps
    meter = cluster.accounts.meters["t"]
    assert meter.read(600.0, HALF_LIFE) == pytest.approx(used, rel=1e-4)
    assert meter.read(1600.0, HALF_LIFE) == pytest.approx(used / 2, rel=1e-4)
    assert meter.rate == 0.0


def test_use_goes_on_from_what_was_known() -> None:
    cluster = cluster_of(worker())
    cluster.accounts.recall({"t": Usage("t", 80.0, 0.0), "u": Usage("u", 80.0, 9999.0)}, HALF_LIFE)
    assert cluster.accounts.meters["t"].read(HALF_LIFE, HALF_LIFE) == pytest.approx(40.0)
    # What another clock wrote for later is as of now.
    assert cluster.accounts.meters["u"].read(2 * HALF_LIFE, HALF_LIFE) == pytest.approx(40.0)


def test_another_policy_is_news_to_all_and_the_same_to_nobody() -> None:
    cluster = cluster_of(worker(), job("x"), placed(job("y"), "w1"))
    cluster.set_policy(replace(POLICY), 0.0)
    assert (cluster.dirty, cluster.fresh) == (set(), set())
    classes = {**POLICY.classes, Priority.NORMAL: ClassPolicy(300.0, 3.0)}
    cluster.set_policy(replace(POLICY, classes=classes), 0.0)
    assert (cluster.dirty, cluster.fresh) == ({"w1"}, {"x"})
    assert cluster.loads["w1"].tightest == 3.0
    assert [one.max_slowdown for one in cluster.classes] == [1.25, 3.0, 2.0]


def test_the_first_of_the_queue_are_looked_at_again_now_and_then() -> None:
    cluster = cluster_of()
    assert not cluster.relook_due(RELOOK_SECONDS - 1)
    cluster.settle(RELOOK_SECONDS - 1)  # which puts nothing off
    assert cluster.settled_at == RELOOK_SECONDS - 1
    assert cluster.relook_due(RELOOK_SECONDS)
    cluster.settle(RELOOK_SECONDS)
    assert not cluster.relook_due(2 * RELOOK_SECONDS - 1)


def test_what_a_job_takes_is_told_once_for_each_kind_of_device() -> None:
    cluster = cluster_of()
    one = job("x", took=20, percent=50)
    assert cluster.takes.of(one) == ()
    cluster.put_worker(worker("w1", 100), 0.0)
    alone = cluster.takes.of(one)
    assert alone[:2] == (0.5, 20)
    cluster.put_worker(worker("w2", 300), 0.0)  # of the same kind, but larger
    assert cluster.takes.of(one) == alone
    other = WorkerView("w3", WorkerKind("cpu", "cpu", 100, 1024))
    cluster.put_worker(other, 0.0)
    assert cluster.takes.of(one) == alone + alone
    cluster.drop_worker("w3", 0.0)
    assert cluster.takes.of(one) == alone


def test_what_a_job_takes_is_asked_anew_when_predictions_change() -> None:
    class Learning(Figures):
        version = 0
        demand_of_all = 0.25

        def demand(self, job: JobView, worker: WorkerView) -> float:
            return self.demand_of_all

    predict = Learning()
    cluster = Cluster(POLICY, predict)
    cluster.put_worker(worker(), 0.0)
    assert cluster.takes.of(job("x"))[0] == 0.25
    predict.demand_of_all = 0.75
    assert cluster.takes.of(job("x"))[0] == 0.25
    predict.version += 1
    assert cluster.takes.of(job("x"))[0] == 0.75
