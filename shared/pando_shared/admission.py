"""Whether a worker's memories have room for what is predicted, and which of them lacks what."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pando_shared.memory import Needs
from pando_shared.workers import Worker


@dataclass(frozen=True, slots=True)
class Shortage:
    """A memory that is too small. `needed_bytes` are with headroom.

    `memory` is its name in messages: "memory" on a CPU; "GPU memory" or "host memory" else.
    """

    memory: str
    needed_bytes: int
    budget_bytes: int


def shortages(worker: Worker, needs: Needs, headroom: float) -> tuple[Shortage, ...]:
    """The worker's memories that cannot hold `needs` with a share of `headroom` on top; none: all
    of it fits."""
    device = "memory" if worker.device == "cpu" else "GPU memory"
    memories = [(device, needs.device_bytes, worker.budget_bytes)]
    if worker.host_budget_bytes is not None:
        memories.append(("host memory", needs.host_bytes, worker.host_budget_bytes))
    return tuple(
        Shortage(memory, math.ceil(predicted * (1 + headroom)), budget)
        for memory, predicted, budget in memories
        if predicted * (1 + headroom) > budget
    )


def fits(worker: Worker, needs: Needs, headroom: float) -> bool:
    return not shortages(worker, needs, headroom)


def closest(
    candidates: Iterable[tuple[Worker, Needs]], headroom: float
) -> tuple[Worker, tuple[Shortage, ...]]:
    """Of at least one worker and what it would need, the one that lacks least, and what it lacks.

    Workers are compared by the memory that is the furthest from enough.
    """
    lacking = [(worker, shortages(worker, needs, headroom)) for worker, needs in candidates]
    return min(lacking, key=lambda pair: (excess(pair[1]), pair[0].id))


def excess(lacks: tuple[Shortage, ...]) -> float:
    """The most that is needed of any memory, in terms of what there is; 0 if all fits."""
    return max((lack.needed_bytes / max(1, lack.budget_bytes) for lack in lacks), default=0.0)
