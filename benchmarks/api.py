"""What the API bears: python benchmarks/api.py [--smoke] [--json FILE]

Starts Redis, an API and a scheduler, without workers, and loads them from this process: reads and
creates of jobs, in turn and several times, beside an empty and a long queue; streams of events; the
API's memory over many requests; a walk through a long list. Everything is on one machine, which
they share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "support"))

from api_cluster import ApiCluster, running  # noqa: E402
from http_load import Connection, Load, Request, creates, load, reads  # noqa: E402
from reporting import facts, progress, table, write  # noqa: E402

from pando_shared import layout  # noqa: E402
from pando_shared.jobs import JobState  # noqa: E402
from pando_shared.records import Event, FileRecord  # noqa: E402

TENANT = "acme"
FILE_ID = "file-benchmark"
PAGE = 100
FOLLOWED_JOBS = 100


async def requests(cluster: ApiCluster, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Reads and creates in turn, beside queues of each length."""
    secret = cluster.key_of(TENANT)
    known = cluster.add_jobs(TENANT, 100, JobState.CANCELLED)
    rows = []
    for queued in (0, args.queued):
        if queued:
            progress(f"queueing {queued} jobs")
            known = cluster.add_jobs("many", queued)
            secret = cluster.key_of("many")
            cluster.store.put_file(_file("many"))
        kinds = {"read": reads(known), "create": creates(FILE_ID)}
        found: dict[str, list[Taken]] = {kind: [] for kind in kinds}
        for turn in range(args.repeats):
            for kind, wanted in kinds.items():
                progress(f"{kind}, {queued} queued, {turn + 1} of {args.repeats}")
                found[kind].append(await _take(cluster, secret, wanted, args))
        rows += [{"request": kind, "queued": queued, **_middle(found[kind])} for kind in kinds]
    return rows


@dataclass(frozen=True)
class Taken:
    """A load, and the processor time that the API spent on each of its requests."""

    load: Load
    api_cpu_seconds: float


async def _take(
    cluster: ApiCluster, secret: str, wanted: Iterator[Request], args: argparse.Namespace
) -> Taken:
    before = _cpu_seconds(cluster.api)
    found = await load(cluster.port, secret, wanted, args.connections, args.seconds)
    return Taken(found, (_cpu_seconds(cluster.api) - before) / found.requests)


def _middle(taken: Sequence[Taken]) -> dict[str, Any]:
    """Medians, each figure's own; and the least and most a second, for others use the machine."""
    rates = [one.load.per_second for one in taken]
    return {
        "requests": sum(one.load.requests for one in taken),
        "per_second": median(rates),
        "per_second_range": [min(rates), max(rates)],
        "p50_seconds": median(one.load.p50_seconds for one in taken),
        "p99_seconds": median(one.load.p99_seconds for one in taken),
        "api_cpu_seconds": median(one.api_cpu_seconds for one in taken),
    }


class Ears:
    """Counts what streams hear, and tells when each has heard so many events."""

    def __init__(self, wanted: int):
        self._left = wanted
        self._all = asyncio.Event()

    def heard(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._all.set()

    async def all_have(self) -> float:
        await self._all.wait()
        return time.perf_counter()


async def streams(cluster: ApiCluster, args: argparse.Namespace) -> dict[str, float]:
    """Streams on which nothing happens, then one event on each."""
    progress(f"{args.streams} streams")
    secret = cluster.key_of("listener")
    job_ids = cluster.add_jobs("listener", min(FOLLOWED_JOBS, args.streams), JobState.PAUSED)
    # A first event each tells that all are connected.
    ears, second = Ears(args.streams), Ears(2 * args.streams)

    def heard() -> None:
        ears.heard()
        second.heard()

    without = await _shares(cluster, args.watch)
    async with asyncio.TaskGroup() as group:
        paths = [f"/v1/fine_tuning/jobs/{job_id}/events?stream=true" for job_id in job_ids]
        tasks = [
            group.create_task(_listen(cluster, secret, paths[number % len(paths)], heard))
            for number in range(args.streams)
        ]
        _tell(cluster, job_ids)
        await ears.all_have()
        # What connecting costs is over.
        await asyncio.sleep(args.watch)
        idle = await _shares(cluster, args.watch)
        began = time.perf_counter()
        _tell(cluster, job_ids)
        last = await second.all_have()
        for task in tasks:
            task.cancel()
    return {
        "streams": args.streams,
        "jobs": len(job_ids),
        "redis_cpu_share_without": without["redis"],
        "redis_cpu_share": idle["redis"],
        "api_cpu_share_without": without["api"],
        "api_cpu_share": idle["api"],
        "api_threads": cluster.api.num_threads(),
        "seconds_until_all_have_an_event": last - began,
    }


async def _listen(cluster: ApiCluster, secret: str, path: str, heard: Callable[[], None]) -> None:
    async with Connection(cluster.port, secret) as connection:
        await connection.listen(path, heard)


def _tell(cluster: ApiCluster, job_ids: Sequence[str]) -> None:
    for job_id in job_ids:
        cluster.store.append_events(job_id, [Event(time.time(), "news")])


async def _shares(cluster: ApiCluster, wanted: float) -> dict[str, float]:
    """How much of a processor each uses, over some seconds from now."""
    processes = {"redis": cluster.redis_process, "api": cluster.api}
    used = {name: _cpu_seconds(process) for name, process in processes.items()}
    began = time.perf_counter()
    await asyncio.sleep(wanted)
    seconds = time.perf_counter() - began
    return {name: (_cpu_seconds(p) - used[name]) / seconds for name, p in processes.items()}


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def memory(cluster: ApiCluster, args: argparse.Namespace) -> dict[str, int]:
    """The API's resident bytes after a warm-up, and after many requests more."""
    progress(f"memory over {args.requests} reads")
    secret = cluster.key_of(TENANT)
    wanted = reads(cluster.add_jobs(TENANT, 100, JobState.CANCELLED))
    sizes = []
    for number in (args.requests // 10, args.requests):
        share = islice(wanted, number)
        await asyncio.gather(*(_ask_all(cluster, secret, share) for _ in range(args.connections)))
        sizes.append(cluster.api.memory_info().rss)
    return {"requests": args.requests, "rss_before": sizes[0], "rss_after": sizes[1]}


async def _ask_all(cluster: ApiCluster, secret: str, share: Iterator[Request]) -> None:
    async with Connection(cluster.port, secret) as connection:
        for request in share:
            await connection.ask(request)


async def listing(cluster: ApiCluster, args: argparse.Namespace) -> dict[str, float]:
    """All of a tenant's jobs, a page at a time."""
    progress(f"listing {args.listed} jobs")
    secret = cluster.key_of("old")
    cluster.add_jobs("old", args.listed, JobState.CANCELLED)
    after, taken, jobs = "", [], 0
    async with Connection(cluster.port, secret) as connection:
        while True:
            began = time.perf_counter()
            path = f"/v1/fine_tuning/jobs?limit={PAGE}{after}"
            page = json.loads(await connection.ask(Request("GET", path)))
            taken.append(time.perf_counter() - began)
            jobs += len(page["data"])
            if not page["has_more"]:
                break
            after = f"&after={page['data'][-1]['id']}"
    if jobs != args.listed:
        raise RuntimeError(f"{args.listed} jobs were to be listed, {jobs} were")
    tenth = max(1, len(taken) // 10)
    return {
        "jobs": jobs,
        "page": PAGE,
        "first_pages_seconds": sum(taken[:tenth]) / tenth,
        "last_pages_seconds": sum(taken[-tenth:]) / tenth,
        "seconds": sum(taken),
    }


def _file(tenant: str) -> FileRecord:
    return FileRecord(FILE_ID, tenant, "a.jsonl", "fine-tune", 2, time.time())


def _print(content: dict[str, Any]) -> None:
    heads = ("request", "queued", "per second", "least", "most", "p50 ms", "p99 ms", "API CPU ms")
    rows = [
        [
            *(row[name] for name in ("request", "queued", "per_second")),
            *row["per_second_range"],
            *(1000.0 * row[name] for name in ("p50_seconds", "p99_seconds", "api_cpu_seconds")),
        ]
        for row in content["requests"]
    ]
    print(table(heads, rows))
    for name in ("streams", "memory", "listing"):
        print(f"\n{name}")
        print(table(("figure", "value"), list(content[name].items())))


async def measure(cluster: ApiCluster, args: argparse.Namespace) -> dict[str, Any]:
    cluster.store.put_file(_file(TENANT))
    cluster.storage.write(layout.file_content(FILE_ID), b"{}")
    content: dict[str, Any] = {
        "facts": facts(torch.device("cpu")),
        "processors": os.cpu_count(),
        "connections": args.connections,
        "repeats": args.repeats,
        "load_average_before": os.getloadavg(),
    }
    # From the emptiest cluster to the fullest.
    content["memory"] = await memory(cluster, args)
    content["streams"] = await streams(cluster, args)
    content["requests"] = await requests(cluster, args)
    content["listing"] = await listing(cluster, args)
    return {**content, "load_average_after": os.getloadavg()}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=16, metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each kind of request")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each; medians")
    parser.add_argument("--queued", type=int, default=10_000, metavar="N")
    parser.add_argument("--streams", type=int, default=1000, metavar="N")
    parser.add_argument("--requests", type=int, default=20_000, metavar="N")
    parser.add_argument("--listed", type=int, default=100_000, metavar="N")
    parser.add_argument("--watch", type=float, default=5.0, help="seconds of idle streams")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(words)
    if args.smoke:
        args.seconds, args.watch, args.repeats, args.queued, args.streams = 0.5, 0.5, 2, 20, 20
        args.requests, args.listed = 100, 150
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as cluster:
        content = asyncio.run(measure(cluster, args))
    _print(content)
    write(args.json, content)


if __name__ == "__main__":
    main()
