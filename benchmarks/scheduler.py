"""How well the scheduler decides, and how fast.

    python benchmarks/scheduler.py [--traces FOLDER] [--seeds N] [--section NAME] [--json FILE]

Four sections. `study`: weeks of the Philly trace at several loads, Pando against six policies
that get the same machines and predictions, over several seeds; and which targets hold. `classes`:
the same with priority classes, for those that obey them. `passes`: what one decision takes, from
cold and after small changes. `growth`: the simulator over 100 to 100,000 jobs, and a million with
--million, which takes minutes. --merge keeps the sections of an earlier file that this run leaves
out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "support"))

from reporting import facts, progress, table, write  # noqa: E402
from scheduler_growth import growth, year_load  # noqa: E402
from scheduler_passes import pass_times  # noqa: E402
from scheduler_study import (  # noqa: E402
    CLASS_SIDES,
    Cell,
    cells,
    figures,
    noted,
    targets,
)

from pando_scheduler.simulation.lengths import read_lengths  # noqa: E402

SECTIONS = ("study", "classes", "passes", "growth")
WEEKS = ("2017-10-02", "2017-10-09", "2017-10-16")
LOADS = (0.6, 0.75, 0.9)
TIMED = ("empty", "cold", "steady_median", "steady_p95", "steady_max", "forecast")
#: So many starved jobs of a tenant that is at its limit, beside the largest queue.
HELD = 200


def study(args: argparse.Namespace) -> dict[str, Any]:
    lengths = read_lengths(args.traces / "azure_llm_conv.csv")
    weeks = [date.fromisoformat(week) for week in args.weeks]
    trace = args.traces / "philly.csv"
    found = noted(cells(trace, weeks, args.loads, args.seeds, args.thin, lengths), progress)
    rows = figures(found)
    reached = targets(found, "pando")
    _print_figures(rows)
    _print_targets(reached)
    return {"cells": [asdict(cell) for cell in found], "figures": rows, "targets": reached}


def classes(args: argparse.Namespace) -> dict[str, Any]:
    """The same with priority classes, which only Pando and `priority` obey."""
    lengths = read_lengths(args.traces / "azure_llm_conv.csv")
    weeks = [date.fromisoformat(args.weeks[len(args.weeks) // 2])]
    trace = args.traces / "philly.csv"
    one = cells(
        trace, weeks, args.loads, args.seeds, args.thin, lengths, CLASS_SIDES, one_class=False
    )
    found: list[Cell] = noted(one, progress)
    rows = figures(found)
    _print_figures(rows)
    return {"cells": [asdict(cell) for cell in found], "figures": rows}


def _print_figures(rows: Sequence[dict[str, Any]]) -> None:
    heads = ("policy", "mean h", "p95 h", "makespan h", "max wait h", "Jain", "utilisation", "OOM")
    for week, load in dict.fromkeys((row["week"], row["load"]) for row in rows):
        print(f"\nweek of {week}, offered load about {load}")
        here = [row for row in rows if (row["week"], row["load"]) == (week, load)]
        names = ("turnaround_mean", "turnaround_p95", "makespan", "wait_max", "jain", "utilisation")
        print(
            table(
                heads,
                [
                    [
                        row["side"],
                        *(_with_spread(row[name]) for name in names),
                        round(row["out_of_memory"]["mean"] * 1.0, 2),
                    ]
                    for row in here
                ],
            )
        )


def _with_spread(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ± {found['deviation']:.2f}"


def _print_targets(rows: Sequence[dict[str, Any]]) -> None:
    for side in dict.fromkeys(row["side"] for row in rows):
        print(f"\n{side}: which targets hold")
        print(
            table(
                ("target", "week", "load", "ratio", "limit", "seeds", "holds"),
                [
                    [
                        row["target"],
                        row["week"],
                        row["load"],
                        _with_spread(row["ratio"]),
                        row["limit"],
                        f"{row['seeds_held']}/{row['seeds']}",
                        "yes" if row["holds_in_mean"] else "no",
                    ]
                    for row in rows
                    if row["side"] == side
                ],
            )
        )


def passes(args: argparse.Namespace) -> list[dict[str, Any]]:
    cases = [
        (queued, workers, 0)
        for queued in args.queued
        for workers in args.workers
        if workers <= queued
    ]
    cases.append((*cases[-1][:2], min(HELD, cases[-1][0])))
    rows = []
    for queued, workers, held in cases:
        progress(f"passes: {queued} queued, {workers} workers, {held} held back")
        tenants = min(200, max(5, workers // 5))
        rows.append(asdict(pass_times(queued, workers, tenants, held)))
    heads = ("queued", "workers", "tenants", "held", "empty ms", "cold ms", "steady ms", "p95")
    print("\none pass")
    print(
        table(
            (*heads, "max", "forecast ms"),
            [
                [
                    *(str(row[name]) for name in ("queued", "workers", "tenants", "held")),
                    *(1000.0 * row[f"{name}_seconds"] for name in TIMED),
                ]
                for row in rows
            ],
        )
    )
    return rows


def grow(args: argparse.Namespace) -> list[dict[str, Any]]:
    cases = [(jobs, max(2, jobs // 1000), 0.8) for jobs in args.jobs]
    if args.million:
        cases.append((1_000_000, 1000, 0.8))
        cases.append((1_000_000, 1000, year_load(1_000_000, 1000)))
    rows = []
    for jobs, workers, load in cases:
        progress(f"growth: {jobs} jobs on {workers} workers, load {load:.2f}")
        rows.append(asdict(growth(jobs, workers, load)))
    names = ("jobs", "workers", "load", "days", "seconds", "cpu_seconds", "plans", "utilisation")
    print("\nthe simulator")
    print(
        table(
            (*names, "peak MB"),
            [[*(row[name] for name in names), row["peak_bytes"] / 1e6] for row in rows],
        )
    )
    return rows


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("PANDO_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--traces", type=Path, default=data / "traces", metavar="FOLDER")
    parser.add_argument("--section", action="append", choices=SECTIONS, help="repeatable; all")
    parser.add_argument("--weeks", nargs="+", default=list(WEEKS), metavar="DAY")
    parser.add_argument("--loads", nargs="+", type=float, default=list(LOADS), metavar="X")
    parser.add_argument("--seeds", type=int, default=4, metavar="N")
    parser.add_argument("--thin", type=float, default=0.1, metavar="SHARE")
    parser.add_argument("--queued", nargs="+", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--workers", nargs="+", type=int, default=[10, 100, 1000])
    parser.add_argument("--jobs", nargs="+", type=int, default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--million", action="store_true", help="a million jobs too")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--merge", action="store_true", help="into what FILE has already")
    args = parser.parse_args(words)
    if args.smoke:
        args.weeks, args.loads, args.seeds, args.thin = ["2017-10-09"], [0.6], 1, 0.005
        args.queued, args.workers, args.jobs = [20], [4], [50]
    chosen = args.section or list(SECTIONS)
    if not (args.traces / "philly.csv").exists():
        progress(f"no traces in {args.traces}: leave out what needs them, or give --traces")
        chosen = [name for name in chosen if name in ("passes", "growth")]
    content: dict[str, Any] = {}
    if args.merge and args.json is not None and args.json.exists():
        content = json.loads(args.json.read_text())
    content["facts"] = facts(torch.device("cpu"))
    run = {"study": study, "classes": classes, "passes": passes, "growth": grow}
    for name in SECTIONS:
        if name in chosen:
            content[name] = run[name](args)
            write(args.json, content)


if __name__ == "__main__":
    main()
