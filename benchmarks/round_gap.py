"""What the gap between rounds costs a worker: time in which adapters wait and nobody trains.

    python benchmarks/round_gap.py [--rounds N] [--jobs N] [--json FILE]

A stack of its own (`pando up`) trains jobs without end, with rounds of the default length; the
worker's own metric tells the gaps, each from one round's last step to the next one's first. The
target is less than 1 % of the time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from openai import OpenAI

ROOT = Path(__file__).parents[1]
PANDO = Path(sys.executable).parent / "pando"
DATA = ROOT / "examples" / "demo" / "pirate.jsonl"
ADAPTERS = (
    {"type": "lora", "rank": 16},
    {"type": "paca", "rank": 16},
    {"type": "meft", "num_keys": 256},
    {"type": "lora", "rank": 8, "dropout": 0.05},
)
TARGET_RATIO = 0.01


@dataclass(frozen=True)
class Gaps:
    """`ratio` is the gaps' share of all time between the first one and the last."""

    rounds: int
    jobs: int
    seconds: float
    gap_seconds: float

    @property
    def ratio(self) -> float:
        return self.gap_seconds / self.seconds


def gaps_so_far(metrics_url: str) -> tuple[int, float]:
    """How many gaps the worker has measured, and their sum in seconds."""
    found = {"count": 0.0, "sum": 0.0}
    for line in httpx.get(metrics_url).text.splitlines():
        for kind in found:
            if line.startswith(f"pando_round_gap_seconds_{kind} "):
                found[kind] = float(line.split()[1])
    return int(found["count"]), found["sum"]


def wait_for_gap(metrics_url: str, number: int) -> tuple[float, float]:
    """When that many gaps were over, and their sum."""
    while True:
        count, total = gaps_so_far(metrics_url)
        if count >= number:
            return time.monotonic(), total
        time.sleep(0.05)


def measure(rounds: int, jobs: int, home: Path) -> Gaps:
    up = [PANDO, "up", "--home", home, "--port", "0", "--device", "cpu", "--detach", "--json"]
    started = subprocess.run(up, capture_output=True, text=True, check=True)
    try:
        stack = json.loads(started.stdout)
        client = OpenAI(base_url=f"{stack['url']}/v1", api_key=stack["api_key"])
        file = client.files.create(file=DATA, purpose="fine-tune")
        for number in range(jobs):
            knobs = {"adapter": ADAPTERS[number % len(ADAPTERS)], "n_epochs": 10_000}
            client.fine_tuning.jobs.create(model="tiny", training_file=file.id, extra_body=knobs)
        # Rounds end early for whoever joins; from then on they last as long as they should.
        while any(job.status != "running" for job in client.fine_tuning.jobs.list()):
            time.sleep(0.1)
        metrics_url = stack["metrics"]["worker-cpu"]
        first = gaps_so_far(metrics_url)[0] + 2
        since, before = wait_for_gap(metrics_url, first)
        until, after = wait_for_gap(metrics_url, first + rounds)
    finally:
        subprocess.run([PANDO, "down", "--home", home], check=True, capture_output=True)
    return Gaps(rounds, jobs, until - since, after - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, metavar="N")
    parser.add_argument("--jobs", type=int, default=4, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pando-round-gap-") as folder:
        gaps = measure(arguments.rounds, arguments.jobs, Path(folder) / "home")
    print(f"{'rounds':>6} {'jobs':>5} {'time':>8} {'gap':>10} {'ratio':>8} {'target':>8}")
    print(
        f"{gaps.rounds:>6} {gaps.jobs:>5} {gaps.seconds:>6.1f} s "
        f"{1000 * gaps.gap_seconds / gaps.rounds:>7.1f} ms {gaps.ratio:>8.3%} "
        f"{'<':>4} {TARGET_RATIO:.0%}"
    )
    if arguments.json is not None:
        row = {"setting": "20 s rounds", **asdict(gaps), "ratio": gaps.ratio}
        arguments.json.write_text(json.dumps([row], indent=2) + "\n")


if __name__ == "__main__":
    main()
