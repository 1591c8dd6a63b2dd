"""The whole of Pando with two or more workers on this machine, so wired that each part can be
broken by itself: Redis has a replica, every worker a network of its own, storage a disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from redis_process import free_port
from small_disk import SmallDisk, can_mount, small_disk
from tcp_proxy import Network, TcpProxy

from chaos.clock_skew import set_skew, skew_environment
from chaos.processes import Keeper, Kept
from chaos.redis_pair import RedisPair

ROOT = Path(__file__).resolve().parents[3]
_BIN = Path(sys.executable).parent
_MODEL = ROOT / "models" / "tiny-base"
_DISK_BYTES = 1 << 30
_READY_SECONDS = 90.0
#: Faults are noticed within seconds. Attempts are many, for as many faults befall one job here as
#: others see in years.
LEASE_SECONDS = 4.0
_SETTINGS = {
    "PANDO_ROUND_SECONDS": "4",
    "PANDO_CHECKPOINT_SECONDS": "1",
    "PANDO_LEASE_SECONDS": str(LEASE_SECONDS),
    "PANDO_HEARTBEAT_SECONDS": "0.5",
    "PANDO_MAX_ATTEMPTS": "50",
    "PANDO_MEMORY_BYTES": str(3 << 30),
    "PANDO_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """`url` is the API's; `keys` has a secret by tenant; `networks` the way to Redis of each
    worker and, as "services", of all else. `disk` is storage's own, where it can be mounted."""

    home: Path
    url: str
    keys: Mapping[str, str]
    redis: RedisPair
    keeper: Keeper
    networks: Mapping[str, TcpProxy]
    workers: tuple[str, ...]
    disk: SmallDisk | None

    @property
    def storage(self) -> Path:
        return self.home / "storage"

    @property
    def redis_url(self) -> str:
        return _redis_url(self.networks["services"])

    def skew_clock(self, worker: str, seconds: float) -> None:
        set_skew(self.home / f"{worker}.skew", seconds)

    def log(self, name: str) -> str:
        return (self.home / "logs" / f"{name}.log").read_text(errors="replace")


@contextmanager
def running_cluster(home: Path, workers: int, tenants: tuple[str, ...]) -> Iterator[Cluster]:
    """Up and ready, until the end."""
    for folder in ("logs", "redis"):
        (home / folder).mkdir(parents=True)
    names = tuple(f"worker-{number}" for number in range(workers))
    with ExitStack() as stack:
        mounted = small_disk(home / "storage", _DISK_BYTES) if can_mount() else None
        disk = None if mounted is None else stack.enter_context(mounted)
        redis = RedisPair(home / "redis")
        stack.callback(redis.stop)
        redis.start()
        network = stack.enter_context(Network())
        networks = {name: network.proxy(redis.primary.port) for name in ("services", *names)}
        port = free_port()
        keeper = Keeper()
        environment = _environment(home, networks["services"], port)
        cluster = Cluster(
            home,
            f"http://127.0.0.1:{port}",
            {tenant: _make_key(environment, tenant) for tenant in tenants},
            redis,
            keeper,
            networks,
            names,
            disk,
        )
        stack.callback(keeper.stop)
        keeper.start([*_services(home, environment), *_workers(cluster, environment)])
        _wait_until_ready(cluster)
        yield cluster


def _redis_url(network: TcpProxy) -> str:
    return f"redis://127.0.0.1:{network.port}/0"


def _environment(home: Path, network: TcpProxy, port: int) -> dict[str, str]:
    return {
        **_SETTINGS,
        "PANDO_REDIS_URL": _redis_url(network),
        "PANDO_STORAGE_URL": f"file://{home}/storage",
        "PANDO_MODELS": f"tiny={_MODEL}",
        "PANDO_PORT": str(port),
        "PANDO_CACHE_DIR": str(home / "cache"),
    }


def _services(home: Path, environment: Mapping[str, str]) -> list[Kept]:
    commands = {
        "api": ("pando-api",),
        "scheduler": ("pando-scheduler",),
        "prepare": ("pando-worker", "--prepare"),
    }
    return [
        Kept(name, (str(_BIN / script), *options), environment, home / "logs" / f"{name}.log")
        for name, (script, *options) in commands.items()
    ]


def _workers(cluster: Cluster, environment: Mapping[str, str]) -> list[Kept]:
    kept = []
    for name in cluster.workers:
        cluster.skew_clock(name, 0)
        own = {
            **environment,
            **skew_environment(cluster.home / f"{name}.skew"),
            "PANDO_WORKER_ID": name,
            "PANDO_REDIS_URL": _redis_url(cluster.networks[name]),
        }
        log = cluster.home / "logs" / f"{name}.log"
        kept.append(Kept(name, (str(_BIN / "pando-worker"),), own, log))
    return kept


def _make_key(environment: Mapping[str, str], tenant: str) -> str:
    done = subprocess.run(
        [str(_BIN / "pando"), "keys", "create", "--tenant", tenant, "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"no key for {tenant}: {done.stdout}{done.stderr}")
    return str(json.loads(done.stdout)["key"])


def _wait_until_ready(cluster: Cluster) -> None:
    headers = {"Authorization": f"Bearer {next(iter(cluster.keys.values()))}"}
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            found = httpx.get(f"{cluster.url}/v1/workers", headers=headers, timeout=5.0)
            ready = found.status_code == 200 and len(found.json()["data"]) == len(cluster.workers)
        except httpx.HTTPError:
            ready = False
        if ready:
            return
        if time.monotonic() > deadline:
            logs = "\n".join(cluster.log(name)[-800:] for name in cluster.keeper.kept)
            raise TimeoutError(f"the cluster did not get ready in {_READY_SECONDS:.0f} s:\n{logs}")
        time.sleep(0.2)
