"""The API's memory over an hour's worth of requests: python benchmarks/api_soak.py [--json FILE]

An hour of 100 requests a second, as fast as they are answered: reads of jobs and of lists, jobs
created and cancelled, files uploaded and deleted, streams of events opened and closed. Redis, an
API and a scheduler run as processes, without workers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "support"))

from api_cluster import ApiCluster, running  # noqa: E402
from http_load import Connection, Form, Request  # noqa: E402
from reporting import facts, progress, table, write  # noqa: E402

from pando_shared.jobs import JobState  # noqa: E402
from pando_shared.records import Event  # noqa: E402

TENANT = "acme"
LINES = b'{"prompt": "2+2=", "completion": "4"}\n' * 100
JOBS = "/v1/fine_tuning/jobs"
MIB = 1 << 20
#: What twenty-five turns do. A turn is one request, but for those that take back what they made.
TURNS = (
    *(*["read"] * 6, "job", "list", *["read"] * 4, "stream", *["read"] * 3),
    *("job", *["read"] * 3, "file", *["read"] * 2, "list", "read"),
)


class Soak:
    """Turns over several connections at once; counts what was answered."""

    def __init__(self, cluster: ApiCluster, connections: int):
        self._cluster = cluster
        self._connections = connections
        self._key = cluster.key_of(TENANT)
        self._known = cluster.add_jobs(TENANT, 100, JobState.PAUSED)
        for job_id in self._known:
            cluster.store.append_events(job_id, [Event(time.time(), "news")])
        self.requests: Counter[str] = Counter()

    async def until(self, total: int) -> None:
        """Go on until so many requests were answered in all."""

        async def work(worker: int) -> None:
            async with Connection(self._cluster.port, self._key) as connection:
                turn = worker * len(TURNS) // self._connections
                while self.requests.total() < total:
                    await self._take(TURNS[turn % len(TURNS)], connection)
                    turn += 1

        await asyncio.gather(*(work(number) for number in range(self._connections)))

    async def _take(self, turn: str, connection: Connection) -> None:
        job_id = self._known[self.requests.total() % len(self._known)]
        match turn:
            case "read":
                await self._ask(connection, "reads", Request("GET", f"{JOBS}/{job_id}"))
            case "list":
                await self._ask(connection, "lists", Request("GET", f"{JOBS}?limit=20"))
            case "job":
                body = {"model": "tiny", "training_file": await self._upload(connection)}
                made = await self._ask(connection, "creates", Request("POST", JOBS, body))
                cancel = Request("POST", f"{JOBS}/{made['id']}/cancel")
                await self._ask(connection, "cancels", cancel)
                await self._delete(connection, body["training_file"])
            case "file":
                await self._delete(connection, await self._upload(connection))
            case "stream":
                await self._hear(f"{JOBS}/{job_id}/events?stream=true")
                self.requests["streams"] += 1

    async def _ask(self, connection: Connection, kind: str, request: Request) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await connection.ask(request))
        self.requests[kind] += 1
        return answer

    async def _upload(self, connection: Connection) -> str:
        form = Form({"purpose": "fine-tune"}, "train.jsonl", LINES)
        made = await self._ask(connection, "uploads", Request("POST", "/v1/files", form))
        return str(made["id"])

    async def _delete(self, connection: Connection, file_id: str) -> None:
        await self._ask(connection, "deletes", Request("DELETE", f"/v1/files/{file_id}"))

    async def _hear(self, path: str) -> None:
        """Open a stream, wait for its first event, and hang up."""
        heard = asyncio.Event()
        async with Connection(self._cluster.port, self._key) as connection:
            listening = asyncio.create_task(connection.listen(path, heard.set))
            await asyncio.wait_for(heard.wait(), 60)
            listening.cancel()


async def soak(cluster: ApiCluster, args: argparse.Namespace) -> dict[str, Any]:
    """The API's resident bytes and open files at each tenth of the way."""
    load = Soak(cluster, args.connections)
    began, rows = time.perf_counter(), []
    for tenth in range(1, 11):
        await load.until(args.requests * tenth // 10)
        row = {
            "requests": load.requests.total(),
            "seconds": time.perf_counter() - began,
            "rss": cluster.api.memory_info().rss,
            "open_files": cluster.api.num_fds(),
            "threads": cluster.api.num_threads(),
        }
        progress(f"{row['requests']} requests, {row['rss'] / MIB:.1f} MiB")
        rows.append(row)
    return {
        "connections": args.connections,
        "asked": dict(load.requests),
        "tenths": rows,
        "growth_per_100k_requests": growth(rows),
    }


def growth(rows: Sequence[dict[str, Any]]) -> float:
    """Bytes: the slope of a straight line through the second half, when caches have filled."""
    half = rows[len(rows) // 2 :]
    slope, _ = np.polyfit([row["requests"] for row in half], [row["rss"] for row in half], 1)
    return float(slope) * 100_000


def _print(content: dict[str, Any]) -> None:
    heads = ("requests", "seconds", "RSS MiB", "open files", "threads")
    print(
        table(
            heads,
            [
                [
                    *(row["requests"], row["seconds"], row["rss"] / MIB),
                    *(row["open_files"], row["threads"]),
                ]
                for row in content["tenths"]
            ],
        )
    )
    print(", ".join(f"{number} {kind}" for kind, number in content["asked"].items()))
    print(f"growth: {content['growth_per_100k_requests'] / MIB:+.2f} MiB per 100,000 requests")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=16, metavar="N")
    parser.add_argument("--requests", type=int, default=360_000, metavar="N")
    parser.add_argument("--smoke", action="store_true", help="a few, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(words)
    if args.smoke:
        args.requests = 400
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as cluster:
        content = asyncio.run(soak(cluster, args))
    _print(content)
    around = {"load_average_before": before, "load_average_after": os.getloadavg()}
    write(
        args.json,
        {"facts": facts(torch.device("cpu")), "processors": os.cpu_count(), **content, **around},
    )


if __name__ == "__main__":
    main()
