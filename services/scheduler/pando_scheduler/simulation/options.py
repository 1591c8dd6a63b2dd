"""The simulator's command line, as one value."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pando_scheduler.simulation.argument_types import (
    count,
    day,
    names,
    not_negative,
    positive,
    share,
    wish,
)
from pando_scheduler.simulation.wish import Wish

_DESCRIPTION = """\
Try a scheduling policy on a simulated cluster: the scheduler's own decisions, on jobs of a real
trace or made-up ones, with predictions that are off and workers that fail.

Prints a table of a line a policy. With several seeds, each draws its own jobs, the same for every
policy; figures are means, ± their standard deviation where they differ."""

_EPILOG = """\
A trace tells when jobs came, whose they were and how long they ran. Their base model, adapter,
batch, sequence lengths, priority and the errors of predictions are drawn from the seed.

examples:
  a week of the Philly trace, a tenth of its jobs, this policy against two others:
    python -m pando_scheduler.simulation --trace philly.csv --week 2017-10-09 \\
        --policy pando --policy fifo-fused --policy srpt-oracle --seeds 4

  the same with real sequence lengths, a file for programs, and drawings:
    python -m pando_scheduler.simulation --trace philly.csv --lengths azure_llm_conv.csv \\
        --policy all --json out.json --plots plots/

  100,000 made-up jobs that keep 100 workers busy to 80 %, each of which fails once a week:
    python -m pando_scheduler.simulation --synthetic 100000 --workers 100 --load 0.8 --failures 168

  how many workers does it take?
    python -m pando_scheduler.simulation --trace philly.csv --question "p95 wait < 10 min"

A question is STATISTIC MEASURE < NUMBER UNIT: mean, median, max or a percentile such as p95; of
wait or turnaround; < or <=; in s, min, h or d.

exit codes: 0 all is well; 1 the question has no answer within --at-most, or something failed; 2 the
command line or a file it names is wrong; 130 interrupted."""


@dataclass(frozen=True, slots=True)
class Options:
    """`policies` is empty where none was named. `longest_hours` None: the source's own."""

    trace: Path | None
    week: date
    days: int
    thin: float
    synthetic: int | None
    load: float
    tenants: int
    lengths: Path | None
    longest_hours: float | None
    time_noise: float
    memory_noise: float
    workers: int
    worker_gib: float
    bases: tuple[str, ...]
    failures_hours: float | None
    forecasts: bool
    policies: tuple[str, ...]
    policy_file: Path | None
    first_seed: int
    seeds: int
    question: Wish | None
    at_most: int
    json: str | None
    plots: Path | None


def parse(arguments: Sequence[str], bases: Sequence[str], policies: Mapping[str, str]) -> Options:
    """Read the command line. `bases` are the default ones, `policies` all that there are, each with
    what it is.

    Raises:
        SystemExit: after --help (0), or after it has said on stderr what is wrong (2).
    """
    parser = _parser(bases, policies)
    given = parser.parse_args(arguments)
    if given.trace is None and given.synthetic is None:
        parser.error("say where jobs come from: --trace FILE or --synthetic JOBS")
    if given.question is not None and given.plots is not None:
        parser.error("--plots draws runs of one number of workers; leave it out with --question")
    named = tuple(dict.fromkeys(given.policy or ()))
    chosen = tuple(policies) if "all" in named else named
    return Options(
        trace=given.trace,
        week=given.week,
        days=given.days,
        thin=given.thin,
        synthetic=given.synthetic,
        load=given.load,
        tenants=given.tenants,
        lengths=given.lengths,
        longest_hours=given.longest_hours,
        time_noise=given.time_noise,
        memory_noise=given.memory_noise,
        workers=given.workers,
        worker_gib=given.worker_gib,
        bases=given.bases,
        failures_hours=given.failures,
        forecasts=given.forecasts,
        policies=chosen,
        policy_file=given.policy_file,
        first_seed=given.seed,
        seeds=given.seeds,
        question=given.question,
        at_most=given.at_most,
        json=given.json,
        plots=given.plots,
    )


def _parser(bases: Sequence[str], policies: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pando_scheduler.simulation",
        usage="%(prog)s (--trace FILE | --synthetic JOBS) [OPTION ...]",
        description=_DESCRIPTION,
        epilog=f"policies:\n{_listed(policies)}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    jobs = parser.add_argument_group("where jobs come from")
    source = jobs.add_mutually_exclusive_group()
    source.add_argument("--trace", type=Path, metavar="FILE", help="a Philly trace (CSV)")
    source.add_argument("--synthetic", type=count, metavar="JOBS", help="so many made-up jobs")
    add = jobs.add_argument
    add("--week", type=day, default="2017-10-09", metavar="DAY", help="first day (%(default)s)")
    add("--days", type=count, default=7, metavar="N", help="days of the trace (%(default)s)")
    add(
        "--thin",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="the share of the trace's jobs that is kept (%(default)s)",
    )
    add(
        "--load",
        type=positive,
        default=0.8,
        metavar="X",
        help="made-up work over what --workers do one job at a time (%(default)s)",
    )
    add("--tenants", type=count, default=20, metavar="N", help="made-up tenants (%(default)s)")
    add(
        "--lengths",
        type=Path,
        metavar="FILE",
        help="sequence lengths, an Azure LLM trace (CSV); default: a mix like its conversations",
    )
    add(
        "--longest-hours",
        type=positive,
        metavar="H",
        help="no job is longer (24 of a trace, 168 of made-up jobs)",
    )
    add(
        "--time-noise",
        type=not_negative,
        default=0.5,
        metavar="SIGMA",
        help="a job's time is e^N(0, SIGMA) of what is predicted (%(default)s)",
    )
    add(
        "--memory-noise",
        type=not_negative,
        default=0.2,
        metavar="SIGMA",
        help="an adapter's bytes likewise (%(default)s)",
    )
    add = parser.add_argument_group("the cluster").add_argument
    add("--workers", type=count, default=6, metavar="N", help="workers (%(default)s)")
    add("--worker-gib", type=positive, default=80.0, metavar="GIB", help="of each (%(default)g)")
    add(
        "--bases",
        type=names,
        default=",".join(bases),
        metavar="NAME,...",
        help="base models of the jobs (%(default)s)",
    )
    add(
        "--failures",
        type=positive,
        metavar="HOURS",
        help="a worker fails once in so many hours, on average; default: never",
    )
    add = parser.add_argument_group("what is tried").add_argument
    add(
        "--policy",
        action="append",
        choices=[*policies, "all"],
        metavar="NAME",
        help="one of those below, or all; repeatable; default: pando and fifo-fused, for a "
        "question pando",
    )
    add("--policy-file", type=Path, metavar="FILE", help="quotas, weights and classes (TOML)")
    add("--seeds", type=count, default=1, metavar="N", help="how many seeds (%(default)s)")
    add("--seed", type=int, default=1, metavar="S", help="the first of them (%(default)s)")
    add(
        "--question",
        type=wish,
        metavar="WISH",
        help="find the least number of workers for a wish, such as 'p95 wait < 10 min'",
    )
    add(
        "--forecasts",
        action="store_true",
        help="tell jobs every 5 minutes when they start and end, and say how far off that was "
        "(pando only; takes several times as long)",
    )
    add("--at-most", type=count, default=64, metavar="N", help="workers to try (%(default)s)")
    add = parser.add_argument_group("what comes out").add_argument
    add("--json", metavar="FILE", help="also as JSON; -: on stdout, instead of the table")
    add("--plots", type=Path, metavar="FOLDER", help="draw SVGs there; needs matplotlib")
    return parser


def _listed(policies: Mapping[str, str]) -> str:
    width = max(map(len, policies), default=0)
    return "\n".join(f"  {name.ljust(width)}  {about}" for name, about in policies.items())
