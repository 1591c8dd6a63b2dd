"""The figures that users are shown of the chaos run are those that were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "chaos.json").read_text())
    return found


def page() -> str:
    return (ROOT / "docs" / "reliability.md").read_text()


def test_the_table_is_of_the_run() -> None:
    shown = re.findall(
        r"^\| ([a-z -]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page(), re.M
    )
    rows = [
        (row["kind"], str(row["count"]), *(f"{row[k]:.1f}" for k in ("median", "p95", "longest")))
        for row in measured()["recovery_seconds"]
    ]
    assert shown == rows


def test_the_run_is_the_one_described_and_nothing_was_lost() -> None:
    run, text = measured(), " ".join(page().split())
    options, verdict = run["options"], run["verdict"]
    for what in ("lost", "twice", "stuck", "bad_results", "unlike_twin"):
        assert verdict[what] == []
    slow = [row for row in run["faults"] if max(row["api_seconds"], row["jobs_seconds"]) >= 30]
    assert run["passed"] is not bool(slow)
    assert (f"After {len(slow)} of the {len(run['faults'])} faults" in text) is bool(slow)
    assert f"A run of {options['minutes']:g} minutes" in text
    assert f"--faults {options['faults']} --seed {options['seed']}" in text
    assert f"{len(run['faults'])} faults, {verdict['jobs']} jobs" in text
    assert f"{verdict['same_bits']} adapters are the same as their twin bit for bit" in text
    assert f"{verdict['largest_difference']:.1e}" in text


def test_every_fault_that_is_counted_was_made() -> None:
    run = measured()
    assert sum(row["count"] for row in run["recovery_seconds"][:-1]) == len(run["faults"])
    assert run["recovery_seconds"][-1]["count"] == run["options"]["faults"]
