"""How many workers a wish takes, on figures made by hand and on a real queue."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulated_runs import arrival, first_come, run_of

from pando_scheduler.simulation.capacity import workers_needed
from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.wish import parse_wish
from pando_shared.errors import InvalidRequest


def figures(*by_workers: float) -> Callable[[int], Run]:
    """A cluster whose longest turnaround with n workers is the n-th of these."""
    return lambda workers: run_of(by_workers[workers - 1])


WISH = parse_wish("max turnaround < 10 s")


@pytest.mark.parametrize("enough", range(1, 21))
def test_the_least_number_and_its_predecessor(enough: int) -> None:
    needed = workers_needed(figures(*(5 if n >= enough else 50 for n in range(1, 21))), WISH, 20)
    assert needed.workers == enough
    assert needed.figure == 5
    assert needed.figure_below == (None if enough == 1 else 50)
    assert len(needed.tried) <= 7


def test_not_even_the_most() -> None:
    needed = workers_needed(figures(50, 40, 30), WISH, 3)
    assert (needed.workers, needed.figure, needed.figure_below) == (None, 30, None)
    assert needed.tried == {3: 30}


def test_a_number_that_fulfils_it_by_chance_does_not_count() -> None:
    """4 of 8 workers fulfil it, but 5 do not."""
    needed = workers_needed(figures(50, 50, 50, 5, 50, 50, 5, 5), WISH, 8)
    assert needed.workers == 7
    assert needed.figure_below == 50


def test_no_number_is_simulated_twice() -> None:
    seen: list[int] = []

    def simulate_with(workers: int) -> Run:
        seen.append(workers)
        return run_of(100 / workers)

    # 100 / 11 is the first below 10.
    assert workers_needed(simulate_with, WISH, 64).workers == 11
    assert len(seen) == len(set(seen)) <= 8


def test_a_queue() -> None:
    """Six jobs of 10 s at once: on n workers the last starts after 10 (⌈6/n⌉ - 1) s."""
    jobs = [arrival(0, 10) for _ in range(6)]

    def needed(text: str) -> int | None:
        return workers_needed(lambda n: first_come(jobs, n), parse_wish(text), 10).workers

    assert needed("max wait <= 0 s") == 6
    assert needed("max wait < 11 s") == 3
    assert needed("max wait <= 20 s") == 2
    assert needed("mean turnaround <= 10 s") == 6
    assert needed("max wait <= 1 min") == 1


def test_no_cluster() -> None:
    with pytest.raises(InvalidRequest, match="allow 1 or more"):
        workers_needed(figures(1), WISH, 0)
