"""The scheduler against other policies on weeks of the Philly trace: many seeds and loads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pando_scheduler.simulation.arrivals import Arrival, Machine
from pando_scheduler.simulation.base_models import DEFAULT, catalogue_of
from pando_scheduler.simulation.contenders import CONTENDERS
from pando_scheduler.simulation.lengths import LengthMix
from pando_scheduler.simulation.measures import measure
from pando_scheduler.simulation.philly import philly_arrivals
from pando_scheduler.simulation.spread import Spread, ratio, spread
from pando_scheduler.simulation.world import simulate
from pando_scheduler.simulation.world_options import WorldOptions
from pando_shared.jobs import Priority
from pando_shared.policy import Policy

WEEK_SECONDS = 7 * 24 * 3600.0
BUDGET_BYTES = 72 << 30
#: By name: the contender, and the policy it works by.
SIDES: dict[str, tuple[str, Policy]] = {
    name: (name, Policy()) for name in CONTENDERS if name != "priority"
}
#: What only this project obeys is told apart: a trace knows no classes.
CLASS_SIDES = ("pando", "fifo-fused", "priority")
FIGURES = ("turnaround_mean", "turnaround_p95", "makespan", "wait_max", "jain", "utilisation")


@dataclass(frozen=True)
class Cell:
    """One policy on one seed's jobs. Times are hours; `offered` is the work over what the workers
    could do if they were always full."""

    week: str
    load: float
    seed: int
    side: str
    jobs: int
    workers: int
    offered: float
    turnaround_mean: float
    turnaround_median: float
    turnaround_p95: float
    makespan: float
    wait_max: float
    jain: float
    utilisation: float
    out_of_memory: int
    preemptions: int
    swaps: int
    bypass_broken: int
    seconds: float


def options(policy: Policy, seed: int) -> WorldOptions:
    return WorldOptions(catalogue=catalogue_of(DEFAULT), policy=policy, seed=seed)


def week_jobs(
    trace: Path, week: date, seed: int, lengths: LengthMix, thin: float, one_class: bool
) -> list[Arrival]:
    speed = options(Policy(), seed).speed
    arrivals = philly_arrivals(
        trace,
        week=week,
        thin=thin,
        seed=seed,
        bases=DEFAULT,
        lengths=lengths,
        speed_alone=speed.alone_tokens_per_second,
    )
    if one_class:
        return [replace(arrival, priority=Priority.NORMAL) for arrival in arrivals]
    return arrivals


def work_seconds(arrivals: Iterable[Arrival]) -> float:
    """What the jobs take of workers that are always full."""
    speed = options(Policy(), 0).speed
    return sum(
        arrival.tokens
        / speed.alone_tokens_per_second(arrival.step_tokens, arrival.adapter.type)
        * speed.demand(arrival.step_tokens, arrival.adapter.type)
        for arrival in arrivals
    )


def cells(
    trace: Path,
    weeks: Sequence[date],
    loads: Sequence[float],
    seeds: int,
    thin: float,
    lengths: LengthMix,
    sides: Iterable[str] = tuple(SIDES),
    one_class: bool = True,
) -> Iterator[Cell]:
    for week in weeks:
        for seed in range(1, seeds + 1):
            arrivals = week_jobs(trace, week, seed, lengths, thin, one_class)
            work = work_seconds(arrivals)
            for load in loads:
                workers = max(1, round(work / WEEK_SECONDS / load))
                for side in sides:
                    offered = work / WEEK_SECONDS / workers
                    yield _cell(arrivals, week, load, seed, side, workers, offered)


def _cell(
    arrivals: Sequence[Arrival],
    week: date,
    load: float,
    seed: int,
    side: str,
    workers: int,
    offered: float,
) -> Cell:
    name, policy = SIDES.get(side, (side, Policy()))
    machines = [Machine(f"w{number}", BUDGET_BYTES) for number in range(workers)]
    run = simulate(arrivals, machines, CONTENDERS[name], options(policy, seed))
    found = measure(run)
    assert found.unfinished == 0
    assert found.turnaround_mean is not None
    assert found.turnaround_median is not None
    assert found.turnaround_p95 is not None
    return Cell(
        week=week.isoformat(),
        load=load,
        seed=seed,
        side=side,
        jobs=found.jobs,
        workers=workers,
        offered=round(offered, 3),
        turnaround_mean=found.turnaround_mean / 3600,
        turnaround_median=found.turnaround_median / 3600,
        turnaround_p95=found.turnaround_p95 / 3600,
        makespan=found.makespan / 3600,
        wait_max=(found.wait_max or 0.0) / 3600,
        jain=found.jain,
        utilisation=found.utilisation or 0.0,
        out_of_memory=found.out_of_memory,
        preemptions=found.preemptions,
        swaps=found.swaps,
        bypass_broken=found.bypass_broken,
        seconds=round(run.seconds, 2),
    )


def figures(found: Sequence[Cell]) -> list[dict[str, Any]]:
    """Of every week, load and policy: each figure's mean and spread over the seeds."""
    rows = []
    for week, load in dict.fromkeys((cell.week, cell.load) for cell in found):
        here = [cell for cell in found if (cell.week, cell.load) == (week, load)]
        for side in dict.fromkeys(cell.side for cell in here):
            mine = [cell for cell in here if cell.side == side]
            row: dict[str, Any] = {"week": week, "load": load, "side": side}
            for figure in (*FIGURES, "out_of_memory", "preemptions", "bypass_broken"):
                row[figure] = _told(spread(float(getattr(cell, figure)) for cell in mine))
            rows.append(row)
    return rows


@dataclass(frozen=True)
class Target:
    """What a side must reach against another: `of` each seed's ratio is at most `most`, or at
    least."""

    name: str
    figure: str
    to: str
    limit: float
    least: bool = False

    def holds(self, ratio: float) -> bool:
        return ratio >= self.limit - 1e-9 if self.least else ratio <= self.limit + 1e-9


BASELINES = tuple(side for side in SIDES if not side.startswith("pando") and side != "srpt-oracle")
TARGETS = (
    Target("mean turnaround / FIFO fused", "turnaround_mean", "fifo-fused", 0.60),
    Target("mean turnaround / oracle SRPT", "turnaround_mean", "srpt-oracle", 1.6),
    Target("p95 turnaround / FIFO fused", "turnaround_p95", "fifo-fused", 1.0),
    Target("makespan / FIFO one a GPU", "makespan", "fifo-one", 0.88),
    *(Target(f"Jain / {side}", "jain", side, 1.0, least=True) for side in BASELINES),
)


def targets(found: Sequence[Cell], side: str) -> list[dict[str, Any]]:
    """Of every target, week and load: the ratio's mean and spread over the seeds, and of how many
    seeds it holds."""
    rows = []
    for week, load in dict.fromkeys((cell.week, cell.load) for cell in found):
        here = {
            (cell.side, cell.seed): cell for cell in found if (cell.week, cell.load) == (week, load)
        }
        seeds = sorted({seed for _, seed in here})
        for target in TARGETS:
            mine = [getattr(here[side, seed], target.figure) for seed in seeds]
            others = [getattr(here[target.to, seed], target.figure) for seed in seeds]
            known = ratio(mine, others)
            held = sum(target.holds(m / o) for m, o in zip(mine, others, strict=True))
            rows.append(
                {
                    "week": week,
                    "load": load,
                    "side": side,
                    "target": target.name,
                    "limit": target.limit,
                    "ratio": _told(known),
                    "holds_in_mean": known is not None and target.holds(known.mean),
                    "seeds_held": held,
                    "seeds": len(seeds),
                }
            )
    return rows


def _told(found: Spread | None) -> dict[str, float] | None:
    return None if found is None else {k: round(v, 4) for k, v in asdict(found).items()}


def noted(found: Iterable[Cell], say: Callable[[str], None]) -> list[Cell]:
    """All cells, each said as it comes."""
    kept = []
    for cell in found:
        say(
            f"{cell.week} load {cell.load} seed {cell.seed} {cell.side}: "
            f"{cell.turnaround_mean:.2f} h, Jain {cell.jain:.3f}, {cell.seconds:.0f} s"
        )
        kept.append(cell)
        sys.stderr.flush()
    return kept
