"""Runs as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pando_scheduler.simulation.measures import Measures, measure
from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.spread import Spread, by_policy, ratio, spread

#: What the others are compared with.
BASELINE = "fifo-fused"


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading of two lines. `divisor` takes a figure to the column's unit; `compared`: with its
    ratio to the baseline beside it."""

    figure: str
    heading: tuple[str, str]
    divisor: float = 1.0
    digits: int = 0
    compared: bool = False


_HOUR, _PERCENT = 3600.0, 0.01
_TIMES = (
    _Column("turnaround_mean", ("turnaround", "mean h"), _HOUR, 1, compared=True),
    _Column("turnaround_median", ("", "median h"), _HOUR, 2),
    _Column("turnaround_p95", ("", "p95 h"), _HOUR, 1, compared=True),
    _Column("makespan", ("makespan", "h"), _HOUR, 1),
    _Column("wait_p99", ("wait", "p99 h"), _HOUR, 1),
    _Column("wait_max", ("", "max h"), _HOUR, 1),
)
_COUNTS = (
    _Column("jain", ("", "Jain"), digits=3),
    _Column("utilisation", ("workers", "used %"), _PERCENT, 1),
    _Column("out_of_memory", ("out of", "memory")),
    _Column("preemptions", ("pre-", "empted")),
    _Column("checkpoints", ("check-", "points")),
    _Column("unfinished", ("un-", "finished")),
    _Column("bypass_broken", ("bound", "broken")),
    _Column("start_error_minutes", ("forecast off", "start min"), digits=1),
    _Column("finish_error_minutes", ("", "end min"), digits=1),
)


def table(runs: Sequence[Run]) -> str:
    """Two tables of a line a policy, first times, then counts: means over its runs, ± the standard
    deviation where they differ, and ratios to `fifo-fused` on the same seeds if it is there."""
    groups = {policy: [measure(run) for run in own] for policy, own in by_policy(runs).items()}
    return "\n\n".join(_table(groups, columns) for columns in (_TIMES, _COUNTS))


def _table(groups: Mapping[str, Sequence[Measures]], columns: Sequence[_Column]) -> str:
    baseline = groups.get(BASELINE)
    rows = [[""], ["policy"], *([policy] for policy in groups)]
    for column in columns:
        values = [_values(measures, column.figure) for measures in groups.values()]
        cells = [_cell(spread(own), column.divisor, column.digits) for own in values]
        _append(rows, [*column.heading, *cells])
        if column.compared and baseline:
            to = _values(baseline, column.figure)
            _append(rows, ["of", BASELINE, *(_cell(ratio(own, to), 1.0, 2) for own in values)])
    return _aligned(rows)


def _append(rows: Sequence[list[str]], cells: Sequence[str]) -> None:
    for row, cell in zip(rows, cells, strict=True):
        row.append(cell)


def to_json(runs: Run | Sequence[Run]) -> dict[str, Any]:
    """What `table` shows and more, in seconds: a list of `policies`, each with its `figures` (mean,
    deviation, low, high), their `ratios` to `fifo-fused` and its single `runs`."""
    groups = by_policy([runs] if isinstance(runs, Run) else runs)
    measured = {policy: [measure(run) for run in own] for policy, own in groups.items()}
    baseline = measured.get(BASELINE)
    return {
        "baseline": BASELINE,
        "policies": [
            {
                "policy": policy,
                "figures": _figures(measured[policy]),
                "ratios": _ratios(measured[policy], baseline) if baseline else None,
                "runs": [_single(*one) for one in zip(own, measured[policy], strict=True)],
            }
            for policy, own in groups.items()
        ],
    }


def _figures(measures: Sequence[Measures]) -> dict[str, Any]:
    return {field.name: _plain(spread(_values(measures, field.name))) for field in fields(Measures)}


def _ratios(measures: Sequence[Measures], baseline: Sequence[Measures]) -> dict[str, Any]:
    names = ("turnaround_mean", "turnaround_median", "turnaround_p95", "makespan", "wait_max")
    return {name: _plain(ratio(_values(measures, name), _values(baseline, name))) for name in names}


def _single(run: Run, measures: Measures) -> dict[str, Any]:
    return {
        "settings": dict(run.settings),
        **asdict(measures),
        "plans": run.plans,
        "plan_seconds": run.plan_seconds,
        "seconds": run.seconds,
        "tenants": {name: asdict(account) for name, account in sorted(run.tenants.items())},
    }


def _plain(figure: Spread | None) -> dict[str, float] | None:
    return None if figure is None else asdict(figure)


def _values(measures: Sequence[Measures], figure: str) -> list[float | None]:
    return [getattr(one, figure) for one in measures]


def _cell(figure: Spread | None, divisor: float, digits: int) -> str:
    if figure is None:
        return "-"
    mean = f"{figure.mean / divisor:.{digits}f}"
    several = figure.low != figure.high
    return f"{mean} ±{figure.deviation / divisor:.{digits}f}" if several else mean


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, figures to the right, two blanks between columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        figures = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *figures]).rstrip())
    return "\n".join(lines)
