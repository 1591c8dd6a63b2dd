"""How long after a fault's end everything went on: pure reckoning over what was seen."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Inflicted:
    """A fault that was, and who suffered: the jobs that trained, or were checked, as it came.

    Times are in seconds, of one monotonic clock.
    """

    kind: str
    target: str
    began_at: float
    ended_at: float
    affected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a fault's end until the API answered, and until `last_job`, the last of those
    affected, had moved on. None: never, as far as was seen; and no job was affected."""

    fault: Inflicted
    api_seconds: float | None
    jobs_seconds: float | None
    last_job: str | None = None

    @property
    def seconds(self) -> float:
        """Until all was well; infinite if it never was."""
        parts = (self.api_seconds, self.jobs_seconds)
        return max(math.inf if part is None else part for part in parts)


def recovery(
    fault: Inflicted,
    answered_at: float | None,
    progress: Mapping[str, Sequence[float]],
    ended: Collection[str],
) -> Recovery:
    """`answered_at`: when the API first answered after the fault's end; `progress`: when each job
    moved on, ascending; `ended`: the jobs whose last move was their end."""
    api = None if answered_at is None else answered_at - fault.ended_at
    moments = {
        job_id: _first_after(progress[job_id], fault.ended_at, job_id in ended)
        for job_id in fault.affected
    }
    if not moments:
        return Recovery(fault, api, 0.0)
    last = max(moments, key=moments.__getitem__)
    never = math.isinf(moments[last])
    return Recovery(fault, api, None if never else moments[last] - fault.ended_at, last)


@dataclass(frozen=True, slots=True)
class KindFigures:
    """Recoveries of one kind of fault, in seconds."""

    kind: str
    count: int
    median: float
    p95: float
    longest: float


def by_kind(recoveries: Sequence[Recovery]) -> list[KindFigures]:
    """One row a kind and target, sorted; workers count as one target, and so do their children."""
    rows: dict[str, list[float]] = {}
    for each in recoveries:
        rows.setdefault(f"{_plain(each.fault.target)} {each.fault.kind}", []).append(each.seconds)
    return [figures_of(kind, rows[kind]) for kind in sorted(rows)]


def figures_of(kind: str, seconds: Sequence[float]) -> KindFigures:
    ordered = sorted(seconds)
    return KindFigures(
        kind, len(ordered), _quantile(ordered, 0.5), _quantile(ordered, 0.95), ordered[-1]
    )


def _first_after(moments: Sequence[float], moment: float, ended: bool) -> float:
    """One that ended before the fault did needed no recovery; infinite if there is none."""
    place = bisect_right(moments, moment)
    if place < len(moments):
        return moments[place]
    return moment if ended else math.inf


def _plain(target: str) -> str:
    words = target.replace("-child", " child").split()
    return " ".join("worker" if word.startswith("worker-") else word for word in words)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
