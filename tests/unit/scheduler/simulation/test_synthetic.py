"""Made-up arrivals against what their distributions say."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from random import Random
from statistics import fmean

import pytest

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.lengths import LengthMix
from pando_scheduler.simulation.synthetic import DAY_SECONDS, mean_seconds, synthetic_arrivals
from pando_shared.errors import InvalidRequest


def made_up(jobs: int = 20_000, **changes: object) -> Iterator[Arrival]:
    arguments: dict[str, object] = {
        "workers": 10,
        "load": 0.8,
        "seed": 1,
        "bases": ("a", "b"),
        "lengths": LengthMix((100,)),
        "speed_alone": lambda step_tokens, method: 1.0,
    }
    return synthetic_arrivals(jobs, **(arguments | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def jobs() -> list[Arrival]:
    return list(made_up())


def test_they_come_in_order_and_have_ids_of_their_own(jobs: list[Arrival]) -> None:
    assert len({job.id for job in jobs}) == 20_000
    assert all(before.at <= after.at for before, after in pairwise(jobs))


def test_durations_are_as_spread_as_phillys(jobs: list[Arrival]) -> None:
    ascending = sorted(job.tokens for job in jobs)
    assert ascending[10_000] == pytest.approx(20 * 60, rel=0.1)
    assert ascending[19_800] == pytest.approx(38 * 3600, rel=0.2)
    assert ascending[-1] <= 168 * 3600


def test_the_mean_is_that_of_the_cut_distribution() -> None:
    """Against the mean of the quantile function, cut, over even shares."""
    from statistics import NormalDist

    normal = NormalDist(math.log(1200), math.log(114) / NormalDist().inv_cdf(0.99))
    for longest in (3600.0, 24 * 3600.0, 168 * 3600.0):
        shares = ((i + 0.5) / 50_000 for i in range(50_000))
        exact = fmean(min(longest, math.exp(normal.inv_cdf(share))) for share in shares)
        assert mean_seconds(longest) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("load", [0.4, 1.2])
def test_load_is_work_over_capacity(load: float) -> None:
    found = list(made_up(load=load, longest_hours=4.0))
    work = sum(job.tokens for job in found)
    assert work / (10 * found[-1].at) == pytest.approx(load, rel=0.05)


def test_arrivals_swing_by_half_within_a_day() -> None:
    """Over a sine's upper half the mean rate is 1 + 0.5 · 2/π of the mean, over its lower 1 - …"""
    found = list(made_up(60_000, load=50.0))
    days = int(found[-1].at / DAY_SECONDS)
    within = [job.at % DAY_SECONDS for job in found if job.at < days * DAY_SECONDS]
    assert days >= 3
    first_half = sum(at < DAY_SECONDS / 2 for at in within)
    assert first_half / len(within) == pytest.approx((1 + 1 / math.pi) / 2, rel=0.03)


def test_tenants_are_zipfs(jobs: list[Arrival]) -> None:
    counts = Counter(job.tenant for job in jobs)
    assert len(counts) == 20
    harmonic = sum(1 / rank for rank in range(1, 21))
    for rank in (1, 2, 5, 10):
        assert counts[f"tenant-{rank}"] == pytest.approx(20_000 / rank / harmonic, rel=0.1)


def test_a_seed_repeats_itself(jobs: list[Arrival]) -> None:
    assert list(islice(made_up(), 100)) == jobs[:100]
    assert next(made_up(seed=2)) != jobs[0]


def test_they_are_made_one_at_a_time() -> None:
    """The first of a thousand million is there at once, and a passed one takes no memory."""
    lazily = made_up(1_000_000_000)
    next(lazily)
    tracemalloc.start()
    try:
        for _ in islice(lazily, 5_000):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Kept, they would take megabytes; other tests' threads may take a little meanwhile.
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "change",
    [
        {"jobs": 0},
        {"workers": 0},
        {"tenants": 0},
        {"load": 0.0},
        {"load": math.inf},
        {"longest_hours": -1.0},
        {"bases": ()},
    ],
)
def test_arguments_out_of_range(change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        made_up(**change)  # type: ignore[arg-type]


def test_a_private_generator_is_used() -> None:
    import random

    state = random.getstate()
    list(made_up(10))
    Random(1).random()
    assert random.getstate() == state
