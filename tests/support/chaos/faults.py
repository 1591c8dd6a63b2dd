"""Every kind of fault: how it comes, and how it goes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from chaos.checkpoint_damage import corrupt, damage_newest, truncate
from chaos.cluster import LEASE_SECONDS, Cluster
from chaos.duplicates import sending_twice

#: How long one waits for a process that has just died to be there again, to break it.
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Entering `broken` breaks something for `seconds`; leaving it mends that."""

    kind: str
    target: str
    seconds: float
    broken: AbstractContextManager[object]


Make = Callable[[Cluster, random.Random], Fault]


def _target(cluster: Cluster, rng: random.Random) -> str:
    """A process of the cluster. Half of the time it is a worker, or a worker's child."""
    if rng.random() < 0.5:
        return rng.choice(("api", "scheduler", "prepare"))
    return rng.choice(cluster.workers) + rng.choice(("", "-child"))


def _pid(cluster: Cluster, name: str) -> int:
    """Raises TimeoutError if the process does not come back."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (pid := cluster.keeper.pid(name)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} has not come back in {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.1)
    return pid


def _signal(cluster: Cluster, name: str, number: int) -> None:
    with suppress(ProcessLookupError):  # it has just died
        os.kill(_pid(cluster, name), number)


@contextmanager
def _signalled(cluster: Cluster, name: str, number: int) -> Iterator[None]:
    _signal(cluster, name, number)
    yield


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def kill(cluster: Cluster, rng: random.Random) -> Fault:
    name = _target(cluster, rng)
    return Fault("kill", name, 0.0, _signalled(cluster, name, signal.SIGKILL))


def terminate(cluster: Cluster, rng: random.Random) -> Fault:
    name = _target(cluster, rng)
    return Fault("terminate", name, 0.0, _signalled(cluster, name, signal.SIGTERM))


def stop(cluster: Cluster, rng: random.Random) -> Fault:
    """Longer than a lease, now and then: it goes on, and does not know that time has passed."""
    name = _target(cluster, rng)
    return Fault(
        "stop", name, rng.uniform(0.5, 1.75 * LEASE_SECONDS), _stopped(_pid(cluster, name))
    )


def stop_redis(cluster: Cluster, rng: random.Random) -> Fault:
    seconds = rng.uniform(0.5, LEASE_SECONDS)
    return Fault("stop", "redis", seconds, _stopped(cluster.redis.primary.pid))


def restart_redis(cluster: Cluster, rng: random.Random) -> Fault:
    @contextmanager
    def broken() -> Iterator[None]:
        cluster.redis.primary.kill()
        yield
        cluster.redis.primary.start()
        cluster.redis.wait_for_replica()

    return Fault("restart", "redis", rng.uniform(0.0, 2.0), broken())


def fail_over(cluster: Cluster, rng: random.Random) -> Fault:
    @contextmanager
    def broken() -> Iterator[None]:
        port = cluster.redis.fail_over()
        for network in cluster.networks.values():
            network.lead_to(port)
        yield
        cluster.redis.rejoin()

    return Fault("failover", "redis", 0.0, broken())


def flush(cluster: Cluster, rng: random.Random) -> Fault:
    @contextmanager
    def broken() -> Iterator[None]:
        with cluster.redis.client() as client:
            client.flushall()
        yield

    return Fault("flushall", "redis", 0.0, broken())


def fill_redis(cluster: Cluster, rng: random.Random) -> Fault:
    @contextmanager
    def broken() -> Iterator[None]:
        cluster.redis.fill()
        try:
            yield
        finally:
            cluster.redis.make_room()

    return Fault("full", "redis", rng.uniform(1.0, 5.0), broken())


def slow_network(cluster: Cluster, rng: random.Random) -> Fault:
    seconds, delay = rng.uniform(1.0, 5.0), rng.uniform(0.1, 0.5)  # each way

    @contextmanager
    def broken() -> Iterator[None]:
        for network in cluster.networks.values():
            network.delay(delay)
        try:
            yield
        finally:
            for network in cluster.networks.values():
                network.heal()

    return Fault("slow", "network", seconds, broken())


def cut_network(cluster: Cluster, rng: random.Random) -> Fault:
    name = rng.choice(sorted(cluster.networks))

    @contextmanager
    def broken() -> Iterator[None]:
        cluster.networks[name].cut()
        try:
            yield
        finally:
            cluster.networks[name].heal()

    return Fault("cut", f"network of {name}", rng.choice((0.0, rng.uniform(0.5, 3.0))), broken())


def partition(cluster: Cluster, rng: random.Random) -> Fault:
    """For longer than a lease: the worker trains on, and is to find that its jobs are others'."""
    name = rng.choice(cluster.workers)

    @contextmanager
    def broken() -> Iterator[None]:
        cluster.networks[name].silence()
        try:
            yield
        finally:
            cluster.networks[name].heal()

    return Fault("partition", name, LEASE_SECONDS + rng.uniform(1.0, 3.0), broken())


def skew_clock(cluster: Cluster, rng: random.Random) -> Fault:
    """The worker's wall clock jumps, and stays wrong until it jumps again."""
    name, seconds = rng.choice(cluster.workers), rng.choice((-300.0, 0.0, 300.0))

    @contextmanager
    def broken() -> Iterator[None]:
        cluster.skew_clock(name, seconds)
        yield

    return Fault("clock", name, 0.0, broken())


def lose_messages(cluster: Cluster, rng: random.Random) -> Fault:
    """For a while, whatever is queued is deleted."""

    @contextmanager
    def broken() -> Iterator[None]:
        queues = ["prepare", *(f"worker.{name}" for name in cluster.workers)]
        deadline = time.monotonic() + 1.0
        with cluster.redis.client() as client, suppress(RedisError):
            while time.monotonic() < deadline:
                client.delete(*queues)
                time.sleep(0.005)
        yield

    return Fault("lost", "messages", 0.0, broken())


def repeat_messages(cluster: Cluster, rng: random.Random) -> Fault:
    return Fault("twice", "messages", 4.0, sending_twice(cluster))


def damage_checkpoint(cluster: Cluster, rng: random.Random) -> Fault:
    """A job's newest checkpoint is spoilt, and all who train are killed, so that it is read."""
    damage, kind = rng.choice(((truncate, "truncated"), (corrupt, "corrupted")))

    @contextmanager
    def broken() -> Iterator[None]:
        damage_newest(cluster.storage, rng, damage)
        for name in cluster.workers:
            _signal(cluster, f"{name}-child", signal.SIGKILL)
        yield

    return Fault(kind, "checkpoint", 0.0, broken())


def fill_disk(cluster: Cluster, rng: random.Random) -> Fault:
    disk = cluster.disk
    assert disk is not None

    @contextmanager
    def broken() -> Iterator[None]:
        disk.fill()
        try:
            yield
        finally:
            disk.make_room()

    return Fault("full", "disk", rng.uniform(1.0, 5.0), broken())


def make_disk_read_only(cluster: Cluster, rng: random.Random) -> Fault:
    disk = cluster.disk
    assert disk is not None

    @contextmanager
    def broken() -> Iterator[None]:
        disk.refuse_writes()
        try:
            yield
        finally:
            disk.take_writes()

    return Fault("read-only", "disk", rng.uniform(1.0, 5.0), broken())


#: How often each comes, relative to the others.
_WEIGHTS: Mapping[Make, int] = {
    kill: 6,
    terminate: 4,
    stop: 4,
    stop_redis: 1,
    restart_redis: 2,
    fail_over: 1,
    flush: 1,
    fill_redis: 1,
    slow_network: 2,
    cut_network: 2,
    partition: 2,
    skew_clock: 1,
    lose_messages: 2,
    repeat_messages: 1,
    damage_checkpoint: 2,
}
_OF_DISKS: Mapping[Make, int] = {fill_disk: 1, make_disk_read_only: 1}


def planned(count: int, rng: random.Random, with_disk: bool) -> list[Make]:
    """What is to happen: every kind in turn, as often as its weight says, in random order."""
    weights = {**_WEIGHTS, **(_OF_DISKS if with_disk else {})}
    deck = [make for make, weight in weights.items() for _ in range(weight)]
    drawn: list[Make] = []
    while len(drawn) < count:
        rng.shuffle(deck)
        drawn += deck
    return drawn[:count]
