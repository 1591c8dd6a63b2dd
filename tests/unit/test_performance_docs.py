"""The figures that users are shown of the API's soak are those that were measured."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_soak_is_the_one_that_was_run() -> None:
    page = " ".join((ROOT / "docs" / "performance.md").read_text().split())
    run = json.loads((ROOT / "benchmarks" / "results" / "api_soak.json").read_text())
    first, last = run["tenths"][0], run["tenths"][-1]
    asked = run["asked"]
    assert last["requests"] == sum(asked.values())
    told = [
        f"{asked['creates']:,} jobs created and cancelled",
        f"{asked['uploads']:,} files uploaded and deleted",
        f"{asked['streams']:,} streams opened and closed",
        f"{first['rss'] / 1e6:.1f} MB after {first['requests']:,} requests",
        f"{last['rss'] / 1e6:.1f} MB after {last['requests']:,};",
        f"grew by {run['growth_per_100k_requests'] / 1e6:.1f} MB per 100,000",
        f"{first['open_files']} files open, and {last['open_files']} at the end",
    ]
    assert [figure for figure in told if figure not in page] == []
