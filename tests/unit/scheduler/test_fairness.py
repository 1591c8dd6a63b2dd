import math

import pytest

from pando_scheduler.fairness import Meter, credited, job_weights, levels
from pando_shared.policy import Policy, TenantPolicy


def test_use_counts_half_after_a_half_life() -> None:
    meter = Meter(worker_seconds=100.0, at=0.0)
    assert meter.read(3600.0, 3600.0) == pytest.approx(50.0)
    assert meter.read(7200.0, 3600.0) == pytest.approx(25.0)


def test_a_steady_rate_comes_to_a_half_life_over_ln_two() -> None:
    # dU/dt = r - U ln2/H is at rest where U = r H / ln2.
    meter = Meter(rate=2.0)
    assert meter.read(1e9, 100.0) == pytest.approx(2.0 * 100.0 / math.log(2))
    meter.turn(100.0, 100.0, 0.0)
    assert meter.worker_seconds == pytest.approx(100.0 / math.log(2))


def test_time_does_not_run_backwards() -> None:
    meter = Meter(worker_seconds=10.0, at=50.0, rate=1.0)
    assert meter.read(40.0, 100.0) == 10.0
    meter.turn(40.0, 100.0, 0.0)
    assert meter.at == 50.0


@pytest.mark.parametrize(
    ("fairness", "expected"), [(1.0, {"a": 1, "b": -2}), (0.0, {"a": 0, "b": 0})]
)
def test_levels_are_octaves_around_the_mean(fairness, expected) -> None:
    # The mean is 400: 700 is 0.8 octaves over it, 100 is 2 octaves under it.
    meters = {"a": Meter(700.0), "b": Meter(100.0)}
    policy = Policy(fairness=fairness)
    assert levels(meters, ["a", "b"], policy, 0.0) == expected


def test_use_is_weighed() -> None:
    meters = {"a": Meter(300.0), "b": Meter(100.0)}
    policy = Policy(fairness=1.0, tenants={"a": TenantPolicy(weight=3.0)})
    assert levels(meters, ["a", "b"], policy, 0.0) == {"a": 0, "b": 0}


def test_whoever_has_used_nothing_is_at_the_bottom_and_nobody_where_nobody_has() -> None:
    assert levels({"a": Meter(1e6)}, ["a", "b"], Policy(fairness=1.0), 0.0)["b"] == -6
    assert levels({}, ["a", "b"], Policy(), 0.0) == {"a": 0, "b": 0}


def test_what_was_waited_counts_on_until_it_has_brought_a_turn() -> None:
    policy = Policy(starvation_seconds=100.0)
    assert credited(99.0, policy) == 99.0
    assert credited(100.0, policy) == 0.0


def test_a_tenants_weight_is_spread_over_its_jobs() -> None:
    policy = Policy(tenants={"acme": TenantPolicy(weight=3.0)})
    assert job_weights(["acme", "other", "acme"], policy) == [1.5, 1.0, 1.5]
