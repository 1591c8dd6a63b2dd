"""How a simulation grows with its jobs: seconds, plans and memory, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pando_scheduler.simulation.arrivals import Machine
from pando_scheduler.simulation.base_models import DEFAULT, catalogue_of
from pando_scheduler.simulation.contenders import CONTENDERS
from pando_scheduler.simulation.lengths import conversations
from pando_scheduler.simulation.synthetic import mean_seconds, synthetic_arrivals
from pando_scheduler.simulation.world import simulate
from pando_scheduler.simulation.world_options import WorldOptions

YEAR_SECONDS = 365 * 24 * 3600.0
_LONGEST_HOURS = 168.0


@dataclass(frozen=True)
class Growth:
    """`load` is the work offered over what the workers can do one job at a time. `cpu_seconds` are
    those of the one core that it keeps busy, `plan_seconds` those of `seconds` spent in deciding.
    """

    jobs: int
    workers: int
    load: float
    days: float
    seconds: float
    cpu_seconds: float
    plans: int
    plan_seconds: float
    utilisation: float
    preemptions: int
    peak_bytes: int


def year_load(jobs: int, workers: int) -> float:
    """The load at which so many jobs take a year to come."""
    return jobs * mean_seconds(_LONGEST_HOURS * 3600.0) / (workers * YEAR_SECONDS)


def growth(jobs: int, workers: int, load: float) -> Growth:
    """One simulation, measured in a process of its own: peak memory is of a whole process."""
    words = [sys.executable, str(Path(__file__)), str(jobs), str(workers), str(load)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return Growth(**json.loads(done.stdout))


def _measure(jobs: int, workers: int, load: float) -> Growth:
    options = WorldOptions(catalogue=catalogue_of(DEFAULT), sample_seconds=3600.0)
    arrivals = synthetic_arrivals(
        jobs,
        workers=workers,
        load=load,
        seed=1,
        bases=DEFAULT,
        lengths=conversations(),
        speed_alone=options.speed.alone_tokens_per_second,
    )
    machines = [Machine(f"w{number:04}", 72 << 30) for number in range(workers)]
    began = time.process_time()
    run = simulate(arrivals, machines, CONTENDERS["pando"], options)
    useful = sum(sample.useful for sample in run.samples) / max(1, len(run.samples))
    return Growth(
        jobs=len(run.outcomes),
        workers=workers,
        load=round(load, 3),
        days=round(run.makespan / 86400, 2),
        seconds=round(run.seconds, 2),
        cpu_seconds=round(time.process_time() - began, 2),
        plans=run.plans,
        plan_seconds=round(run.plan_seconds, 2),
        utilisation=round(useful, 3),
        preemptions=run.preemptions,
        peak_bytes=_peak_bytes(),
    )


def _peak_bytes() -> int:
    """Of this program. What getrusage tells may be its parent's, from before it was started."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(asdict(_measure(int(given[0]), int(given[1]), float(given[2])))))
