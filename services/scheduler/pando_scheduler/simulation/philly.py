"""Arrivals from Microsoft's Philly trace (Jeon et al., USENIX ATC 2019).

The trace tells when a job was submitted, by whom, and how long it ran; `traits` draws the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.csv_trace import read_rows
from pando_scheduler.simulation.lengths import LengthMix
from pando_scheduler.simulation.traits import SpeedAlone, Traits
from pando_shared.errors import InvalidRequest

_COLUMNS = ("timestamp", "duration", "num_gpus", "cluster")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A row of the trace. `line` is its line in the file."""

    line: int
    submitted: datetime
    seconds: float
    gpus: int
    tenant: str


def read_philly(path: Path) -> Iterator[TraceJob]:
    """All rows, in the file's order, which is not that of time.

    Raises:
        InvalidRequest: the file cannot be read or a row is not understood; names file and line.
    """
    for line, row in read_rows(path, _COLUMNS, "a Philly trace", "trace"):
        yield _job(path, line, row)


def philly_arrivals(
    path: Path,
    *,
    week: date,
    days: int = 7,
    thin: float = 0.1,
    seed: int,
    bases: Sequence[str],
    lengths: LengthMix,
    speed_alone: SpeedAlone,
    longest_hours: float = 24.0,
    time_sigma: float = 0.5,
    memory_sigma: float = 0.2,
) -> list[Arrival]:
    """Jobs of one GPU submitted in the `days` from `week` on, by time; `thin` of them are kept.

    A job alone on a worker takes its duration in the trace, cut at `longest_hours`. A virtual
    cluster is a tenant. Every job has a generator of its own, of the seed and its line: a job that
    two shares of thinning keep is the same in both, and a greater share keeps all of a smaller's.

    Raises:
        InvalidRequest: an argument is out of range, the file is not understood (names file and
            line), or no such job was submitted in these days.
    """
    if days < 1:
        raise InvalidRequest(f"days must be 1 or more, got {days}", param="days")
    if not 0 < thin <= 1:
        raise InvalidRequest(f"thin must be more than 0 and at most 1, got {thin}", param="thin")
    if not longest_hours > 0:
        raise InvalidRequest(f"longest_hours must be positive, got {longest_hours}")
    traits = Traits(seed, bases, lengths, speed_alone, time_sigma, memory_sigma)
    start = datetime(week.year, week.month, week.day)
    jobs = sorted(
        _submitted(path, start, start + timedelta(days=days)),
        key=lambda job: (job.submitted, job.line),
    )
    arrivals = []
    for job in jobs:
        random = Random(f"{seed}:{job.line}")
        if random.random() < thin:
            at = (job.submitted - start).total_seconds()
            seconds = min(job.seconds, longest_hours * 3600.0)
            arrivals.append(traits.arrival(random, f"philly-{job.line}", job.tenant, at, seconds))
    return arrivals


def _submitted(path: Path, start: datetime, end: datetime) -> list[TraceJob]:
    found, first, last = [], datetime.max, datetime.min
    for job in read_philly(path):
        first, last = min(first, job.submitted), max(last, job.submitted)
        if job.gpus == 1 and start <= job.submitted < end:
            found.append(job)
    if not found:
        reaches = "it has no rows" if first > last else f"it reaches from {first} to {last}"
        raise InvalidRequest(
            f"{path}: no job of one GPU was submitted from {start} until {end}; {reaches}",
            param="week",
        )
    return found


def _job(path: Path, line: int, row: Mapping[str, str | None]) -> TraceJob:
    def refuse(column: str, wanted: str) -> InvalidRequest:
        return InvalidRequest(
            f"{path}: line {line}: {column} must be {wanted}, got {row[column]!r}", param="trace"
        )

    if _TIMESTAMP.fullmatch(row["timestamp"] or "") is None:
        raise refuse("timestamp", "YYYY-MM-DD HH:MM:SS")
    try:
        submitted = datetime.fromisoformat(str(row["timestamp"]))
    except ValueError:
        raise refuse("timestamp", "a time that exists") from None
    try:
        seconds = float(row["duration"] or "")
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise refuse("duration", "seconds, more than 0")
    if not (gpus := row["num_gpus"] or "").isdecimal() or int(gpus) < 1:
        raise refuse("num_gpus", "a whole number of 1 or more")
    if not (tenant := row["cluster"]):
        raise refuse("cluster", "the tenant's id")
    return TraceJob(line, submitted, seconds, int(gpus), tenant)
