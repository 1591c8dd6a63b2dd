"""One run: jobs stream in, faults come, all is mended, and what came of it is judged."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos.cluster import Cluster, running_cluster
from chaos.faults import Fault, Make, planned
from chaos.observer import ENDED, Observer
from chaos.recovery_times import Inflicted, Recovery, recovery
from chaos.twins import train_twins
from chaos.verdict import Verdict, judge
from chaos.workload import RECIPES, Stream, Submitted, Tenants

_TENANTS = ("acme", "globex", "initech")
#: How long after the last fault the last of the jobs may end.
_SETTLE_SECONDS = 180.0
_WARM_UP_SECONDS = 4.0
#: How far back, in faults and seconds, one is looked for that jobs have not recovered from.
_LOOK_BACK = 20
_LONGEST_WAIT_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Options:
    """`minutes` is the time in which the faults come, evenly; `live` how many jobs there are at a
    time, of these `recipes`."""

    minutes: float
    faults: int
    seed: int
    workers: int
    live: int = 5
    recipes: tuple[str, ...] = tuple(RECIPES)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`settle_seconds`: from the last fault to the last job's end. `api_failures`: how often a
    question to the API was answered otherwise than well, by how."""

    options: Options
    verdict: Verdict
    recoveries: tuple[Recovery, ...]
    settle_seconds: float
    api_failures: dict[str, int]
    refused_submissions: int
    without_disk_faults: bool


def run(options: Options, home: Path, note: Callable[[str], None]) -> Outcome:
    """Whatever is random follows from the seed, but for what the machine's own timing decides.

    `note` is told what happens.
    """
    with running_cluster(home, options.workers, _TENANTS) as cluster:
        tenants = Tenants(cluster)
        tenants.upload()
        stream = Stream(tenants, random.Random(options.seed), options.live, options.recipes)
        observer = Observer(tenants, stream.saw_end)
        observer.start()
        stream.start()
        try:
            time.sleep(_WARM_UP_SECONDS)
            inflicted = _inflict_all(cluster, options, observer, note)
            stream.stop()
            settle_seconds = _settle(observer, stream.submitted())
        finally:
            stream.stop()
            observer.stop()
        submitted, seen = stream.submitted(), observer.jobs()
        note(f"{len(submitted)} jobs; their twins train alone, undisturbed")
        twins = train_twins(tenants, {job.recipe for job in submitted.values()})
        verdict = judge(tenants, submitted, seen, twins)
        progress = {job_id: found.progress_at for job_id, found in seen.items()}
        ended = {job_id for job_id, found in seen.items() if found.status in ENDED}
        recoveries = tuple(
            recovery(fault, observer.answered_after(fault.ended_at), progress, ended)
            for fault in inflicted
        )
        return Outcome(
            options,
            verdict,
            recoveries,
            settle_seconds,
            observer.failures,
            stream.refusals,
            cluster.disk is None,
        )


def _inflict_all(
    cluster: Cluster, options: Options, observer: Observer, note: Callable[[str], None]
) -> list[Inflicted]:
    rng = random.Random(options.seed + 1)
    pace = options.minutes * 60 / options.faults
    began = time.monotonic()
    waiting = deque(planned(options.faults, rng, cluster.disk is not None))
    inflicted: list[Inflicted] = []
    while waiting:
        time.sleep(max(0.0, began + len(inflicted) * pace - time.monotonic()))
        fault = _next_fault(cluster, waiting, rng, inflicted, observer)
        inflicted.append(_inflict(fault, observer))
        last = inflicted[-1]
        note(
            f"{time.monotonic() - began:6.1f} s  {len(inflicted):3}  {last.target} {last.kind}"
            f"  {last.ended_at - last.began_at:.1f} s  {len(last.affected)} jobs"
        )
    return inflicted


def _next_fault(
    cluster: Cluster,
    waiting: deque[Make],
    rng: random.Random,
    inflicted: list[Inflicted],
    observer: Observer,
) -> Fault:
    """The next that may come now. One that strikes workers comes later, and others before it,
    while jobs have not moved on since the last that did: else no recovery could be told from the
    next, where restarting a worker takes longer than the pause between two faults."""
    while True:
        for _ in range(len(waiting)):
            make = waiting.popleft()
            fault = make(cluster, rng)
            if not (_strikes_workers(fault.target) and _recovering(inflicted, observer)):
                return fault
            waiting.append(make)
        time.sleep(0.2)


def _strikes_workers(target: str) -> bool:
    return "worker-" in target or target == "checkpoint"


def _recovering(inflicted: list[Inflicted], observer: Observer) -> bool:
    """Whether jobs have not moved on since a fault struck workers, which should not last long."""
    seen, now = observer.jobs(), time.monotonic()
    return any(
        seen[job_id].status not in ENDED and not seen[job_id].moved_after(fault.ended_at)
        for fault in inflicted[-_LOOK_BACK:]
        if _strikes_workers(fault.target) and now - fault.ended_at < _LONGEST_WAIT_SECONDS
        for job_id in fault.affected
    )


def _inflict(fault: Fault, observer: Observer) -> Inflicted:
    affected = _affected(fault, observer)
    began = time.monotonic()
    with fault.broken:
        time.sleep(fault.seconds)
    return Inflicted(fault.kind, fault.target, began, time.monotonic(), affected)


def _affected(fault: Fault, observer: Observer) -> tuple[str, ...]:
    """The jobs that are to move on after a fault: of a worker's fault those that train there."""
    worker = fault.target.removesuffix("-child").removeprefix("network of ")
    jobs = {job_id: (seen.status, seen.worker) for job_id, seen in observer.jobs().items()}
    training = [job_id for job_id, (status, _) in jobs.items() if status == "running"]
    checking = [job_id for job_id, (status, _) in jobs.items() if status == "validating_files"]
    match worker:
        case "api":
            return ()
        case "prepare":
            return tuple(checking)
        case _ if worker.startswith("worker-"):
            return tuple(job_id for job_id in training if jobs[job_id][1] == worker)
        case _:
            return (*training, *checking)


def _settle(observer: Observer, submitted: dict[str, Submitted]) -> float:
    """Wait for all jobs to end, or for as long as they may take; returns the seconds."""
    began = time.monotonic()
    while time.monotonic() < began + _SETTLE_SECONDS:
        seen = observer.jobs()
        if all(job_id in seen and seen[job_id].status in ENDED for job_id in submitted):
            break
        time.sleep(0.5)
    return time.monotonic() - began
