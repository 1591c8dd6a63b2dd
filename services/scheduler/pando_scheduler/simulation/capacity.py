"""How many workers does it take? The least number under which a wish comes true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.wish import Wish
from pando_shared.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Capacity:
    """`workers` is the least number found, None where not even the most allowed was enough.

    `figure` is the wish's figure in seconds with so many workers (with the most, where none was
    enough), `figure_below` with one fewer (None: there is none fewer). `tried` is every number that
    was simulated, with its figure.
    """

    workers: int | None
    figure: float
    figure_below: float | None
    tried: dict[int, float]


def workers_needed(simulate_with: Callable[[int], Run], wish: Wish, at_most: int) -> Capacity:
    """Bisect for the least number of workers with which the wish comes true.

    A further worker may now and then make a figure worse. So a number counts only if it and the
    next one fulfil the wish while the one below does not; where the next one fails, the search
    goes on above it.

    Raises:
        InvalidRequest: `at_most` is less than 1.
    """
    if at_most < 1:
        raise InvalidRequest(f"at most {at_most} workers is no cluster; allow 1 or more")
    tried: dict[int, float] = {}

    def fulfils(workers: int) -> bool:
        if workers not in tried:
            tried[workers] = wish.figure(simulate_with(workers))
        return wish.met_by(tried[workers])

    def found(workers: int | None, shown: int) -> Capacity:
        below = tried.get(shown - 1)
        return Capacity(workers, tried[shown], below, dict(sorted(tried.items())))

    if not fulfils(at_most):
        return found(None, at_most)
    fails = 0
    while True:
        enough = at_most
        while enough - fails > 1:
            middle = (fails + enough) // 2
            if fulfils(middle):
                enough = middle
            else:
                fails = middle
        if enough == at_most or fulfils(enough + 1):
            return found(enough, enough)
        fails = enough + 1
