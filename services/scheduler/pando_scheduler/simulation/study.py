"""What the command line does: every policy on every seed, or the workers that each needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.backend import Backend
from pando_scheduler.simulation.capacity import Capacity, workers_needed
from pando_scheduler.simulation.options import Options
from pando_scheduler.simulation.progress import Progress
from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.wish import Wish
from pando_scheduler.simulation.workload import length_mix, workload
from pando_shared.errors import InvalidRequest

_COMPARED = ("pando", "fifo-fused")
_ASKED = ("pando",)


@dataclass(frozen=True, slots=True)
class Answer:
    """How many workers one policy needs for one seed's jobs."""

    policy: str
    seed: int
    capacity: Capacity


def compare(options: Options, backend: Backend, progress: Progress) -> list[Run]:
    """A run for every policy and seed, the seeds of a policy together."""
    policies = options.policies or _COMPARED
    lengths = length_mix(options)
    runs: dict[str, list[Run]] = {policy: [] for policy in policies}
    for seed in _seeds(options):
        arrivals = _some(workload(options, seed, lengths, backend.speed_alone))
        for policy in policies:
            progress.begin(f"{policy}, seed {seed}")
            runs[policy].append(backend.run(arrivals, options.workers, policy, seed, progress))
    progress.end()
    return [run for policy in policies for run in runs[policy]]


def answer(options: Options, wish: Wish, backend: Backend, progress: Progress) -> list[Answer]:
    """The least number of workers for every policy and seed; the jobs are those for `--workers`."""
    lengths = length_mix(options)
    answers = []
    for seed in _seeds(options):
        arrivals = _some(workload(options, seed, lengths, backend.speed_alone))
        for policy in options.policies or _ASKED:
            simulate_with = _simulation(backend, arrivals, policy, seed, progress)
            needed = workers_needed(simulate_with, wish, options.at_most)
            answers.append(Answer(policy, seed, needed))
    progress.end()
    return answers


def _simulation(
    backend: Backend, arrivals: Sequence[Arrival], policy: str, seed: int, progress: Progress
) -> Callable[[int], Run]:
    def simulate_with(workers: int) -> Run:
        progress.begin(f"{policy}, seed {seed}, {workers} workers")
        return backend.run(arrivals, workers, policy, seed, progress)

    return simulate_with


def answers_text(wish: Wish, answers: Sequence[Answer], at_most: int) -> str:
    """A line a policy and seed, with the figure there and with one worker fewer."""
    lines = [wish.text]
    for one in answers:
        capacity, name = one.capacity, f"{one.policy}, seed {one.seed}"
        figure = wish.in_its_unit(capacity.figure)
        if capacity.workers is None:
            lines.append(f"{name}: more than {at_most} workers; with {at_most} it is {figure}")
            continue
        plural = "" if capacity.workers == 1 else "s"
        line = f"{name}: {capacity.workers} worker{plural}; it is {figure}"
        if capacity.figure_below is not None:
            fewer = wish.in_its_unit(capacity.figure_below)
            line += f", with {capacity.workers - 1} it would be {fewer}"
        lines.append(line)
    return "\n".join(lines)


def answers_json(wish: Wish, answers: Sequence[Answer]) -> dict[str, Any]:
    """Figures are seconds; null where a job never started or finished, or nothing was tried."""
    return {
        "question": wish.text,
        "wanted_seconds": wish.seconds,
        "answers": [
            {
                "policy": one.policy,
                "seed": one.seed,
                "workers": one.capacity.workers,
                "figure_seconds": _finite(one.capacity.figure),
                "figure_below_seconds": _finite(one.capacity.figure_below),
                "tried": {
                    str(workers): _finite(figure) for workers, figure in one.capacity.tried.items()
                },
            }
            for one in answers
        ],
    }


def _seeds(options: Options) -> range:
    return range(options.first_seed, options.first_seed + options.seeds)


def _some(arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
    if not arrivals:
        raise InvalidRequest("thinning left no job; raise --thin or take another --seed")
    return arrivals


def _finite(figure: float | None) -> float | None:
    return figure if figure is not None and math.isfinite(figure) else None
