"""The traits that no trace has, by their shares over many jobs."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from statistics import fmean, median, pstdev

import pytest

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.lengths import LengthMix
from pando_scheduler.simulation.traits import Traits
from pando_shared.adapters import MeftConfig
from pando_shared.jobs import Priority

JOBS = 20_000
BASES = ("a", "b", "c")


def speed(step_tokens: float, method: str) -> float:
    return 7.0 * step_tokens


def close(count: int, share: float, of: int = JOBS) -> bool:
    """Within five standard deviations of a binomial distribution."""
    return abs(count - share * of) < 5 * math.sqrt(of * share * (1 - share))


@pytest.fixture(scope="module")
def jobs() -> list[Arrival]:
    traits = Traits(3, BASES, LengthMix((100, 300)), speed, 0.5, 0.2)
    random = Random(5)
    return [traits.arrival(random, f"j{i}", f"t{i % 5}", float(i), 60.0) for i in range(JOBS)]


def test_classes(jobs: list[Arrival]) -> None:
    found = Counter(job.priority for job in jobs)
    assert close(found[Priority.HIGH], 0.05)
    assert close(found[Priority.LOW], 0.15)
    assert close(found[Priority.NORMAL], 0.80)


def test_a_tenant_has_a_favourite_base(jobs: list[Arrival]) -> None:
    favourites = set()
    for tenant in range(5):
        bases = Counter(job.base_model for job in jobs if job.tenant == f"t{tenant}")
        (favourite, often), *others = bases.most_common()
        assert close(often, 0.8, JOBS // 5)
        assert all(close(count, 0.1, JOBS // 5) for _, count in others)
        assert len(others) == 2
        favourites.add(favourite)
    assert len(favourites) > 1


def test_adapters(jobs: list[Arrival]) -> None:
    found = Counter(job.adapter for job in jobs)
    methods = Counter(job.adapter.type for job in jobs)
    assert close(methods["lora"], 0.60)
    assert close(methods["paca"], 0.25)
    assert close(methods["meft"], 0.15)
    ranks = {a.rank for a in found if not isinstance(a, MeftConfig)}
    assert ranks == {8, 16, 32, 64}
    keys = {a.num_keys for a in found if isinstance(a, MeftConfig)}
    assert keys == {1024, 2048, 4096, 8192}


def test_a_step_is_a_batch_of_the_mean_length(jobs: list[Arrival]) -> None:
    assert {job.mean_length for job in jobs} == {100.0, 300.0}
    assert {job.step_tokens / job.mean_length for job in jobs} == {1, 2, 4, 8}


def test_the_duration_alone_is_kept(jobs: list[Arrival]) -> None:
    assert [job.tokens / (7.0 * job.step_tokens) for job in jobs] == pytest.approx([60.0] * JOBS)


def test_errors_are_log_normal_about_one(jobs: list[Arrival]) -> None:
    for errors, sigma in (
        ([math.log(job.time_error) for job in jobs], 0.5),
        ([math.log(job.memory_error) for job in jobs], 0.2),
    ):
        assert abs(fmean(errors)) < 5 * sigma / math.sqrt(JOBS)
        assert abs(median(errors)) < 7 * sigma / math.sqrt(JOBS)
        assert pstdev(errors) == pytest.approx(sigma, rel=0.03)


def test_one_base_is_enough() -> None:
    traits = Traits(1, ("only",), LengthMix((10,)), speed, 0.0, 0.0)
    assert {traits.arrival(Random(i), "j", "t", 0.0, 1.0).base_model for i in range(50)} == {"only"}
