"""What a run came to, for people and for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.recovery_times import by_kind, figures_of
from chaos.run import Outcome

#: No fault's consequences may last longer.
LONGEST_RECOVERY_SECONDS = 30.0


def passed(outcome: Outcome) -> bool:
    slowest = max((each.seconds for each in outcome.recoveries), default=0.0)
    return outcome.verdict.good and slowest < LONGEST_RECOVERY_SECONDS


def show(outcome: Outcome, console: Console) -> None:
    table = Table("fault", "count", "median s", "p95 s", "longest s", title="Recovery")
    whole = figures_of("all", [each.seconds for each in outcome.recoveries])
    for row in (*by_kind(outcome.recoveries), whole):
        times = (f"{value:.1f}" for value in (row.median, row.p95, row.longest))
        table.add_row(row.kind, str(row.count), *times)
    console.print(table)
    verdict = outcome.verdict
    console.print(
        f"{verdict.jobs} jobs, {len(outcome.recoveries)} faults: {len(verdict.lost)} lost, "
        f"{len(verdict.twice)} ended twice, {len(verdict.stuck)} stuck, "
        f"{len(verdict.bad_results)} with wrong results, {len(verdict.unlike_twin)} unlike their "
        f"twin ({verdict.same_bits} the same bit for bit, the farthest by "
        f"{verdict.largest_difference:.1e}); all ended {outcome.settle_seconds:.0f} s after the "
        "last fault"
    )
    wrong = (verdict.lost, verdict.twice, verdict.stuck, verdict.bad_results, verdict.unlike_twin)
    for group in wrong:
        for sentence in group:
            console.print(f"  {sentence}", markup=False)
    console.print("passed" if passed(outcome) else "FAILED")


def write(outcome: Outcome, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_document(outcome), indent=1) + "\n")


def _document(outcome: Outcome) -> dict[str, Any]:
    whole = figures_of("all", [each.seconds for each in outcome.recoveries])
    return {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "options": asdict(outcome.options),
        "passed": passed(outcome),
        "verdict": asdict(outcome.verdict),
        "settle_seconds": round(outcome.settle_seconds, 1),
        "api_failures": outcome.api_failures,
        "refused_submissions": outcome.refused_submissions,
        "without_disk_faults": outcome.without_disk_faults,
        "recovery_seconds": [_rounded(asdict(r)) for r in (*by_kind(outcome.recoveries), whole)],
        "faults": [
            {
                "kind": each.fault.kind,
                "target": each.fault.target,
                "lasted_seconds": round(each.fault.ended_at - each.fault.began_at, 2),
                "affected_jobs": len(each.fault.affected),
                "api_seconds": each.api_seconds and round(each.api_seconds, 2),
                "jobs_seconds": each.jobs_seconds and round(each.jobs_seconds, 2),
                "last_job": each.last_job,
            }
            for each in outcome.recoveries
        ],
    }


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}
