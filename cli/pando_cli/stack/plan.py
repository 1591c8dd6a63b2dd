"""Which processes make a stack, with which environment."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pando_cli.errors import StackError, UsageError
from pando_cli.home import Home
from pando_cli.stack.ports import free_ports
from pando_cli.stack.redis_server import RedisAddress, find_redis_server
from pando_cli.stack.service_spec import ServiceSpec, Tier
from pando_shared.base_format import Dtype


@dataclass(frozen=True, slots=True)
class StackPlan:
    """Everything `pando up` was asked for.

    `models` maps names to folders or hub ids. `dtype` says how workers hold a base; None: as fits
    their device, or as $PANDO_DTYPE says. `policy` is the file by which jobs share the workers.
    """

    home: Home
    host: str
    port: int
    models: Mapping[str, str]
    devices: tuple[str, ...]
    dtype: Dtype | None = None
    policy: Path | None = None

    @property
    def url(self) -> str:
        """Where commands on this machine reach the API."""
        return self.url_of(self.port)

    def url_of(self, port: int) -> str:
        """Where commands on this machine reach what listens on the stack's host."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"http://{host}:{port}"

    @property
    def worker_ids(self) -> tuple[str, ...]:
        """The same at every start, so that a worker takes up its own queue again."""
        return tuple(worker_id(device) for device in self.devices)

    def environment(self, redis: RedisAddress) -> dict[str, str]:
        """The PANDO_* variables that all services share."""
        chosen = {} if self.dtype is None else {"PANDO_DTYPE": str(self.dtype)}
        if self.policy is not None:
            chosen["PANDO_POLICY_FILE"] = str(self.policy.absolute())
        return chosen | {
            "PANDO_REDIS_URL": redis.url,
            "PANDO_STORAGE_URL": f"file://{self.home.storage}",
            "PANDO_MODELS": ",".join(f"{name}={path}" for name, path in self.models.items()),
            "PANDO_HOST": self.host,
            "PANDO_PORT": str(self.port),
            "PANDO_CACHE_DIR": str(self.home.cache),
        }


def redis_spec(config: Path) -> ServiceSpec:
    return ServiceSpec("redis", (str(find_redis_server()), str(config)), Tier.REDIS)


def service_specs(plan: StackPlan, environment: Mapping[str, str]) -> list[ServiceSpec]:
    """API, scheduler, the worker that prepares data, and one that trains for each device."""
    ports = iter(free_ports(plan.host, 2 + len(plan.devices)))

    def measured(
        name: str, command: tuple[str, ...], tier: Tier, own: Mapping[str, str]
    ) -> ServiceSpec:
        """A service that serves its metrics on a port of its own."""
        port = next(ports)
        variables = {**environment, **own, "PANDO_METRICS_PORT": str(port)}
        url = f"{plan.url_of(port)}/metrics"
        return ServiceSpec(name, command, tier, variables, url)

    api, scheduler = (_script("pando-api"),), (_script("pando-scheduler"),)
    worker = (_script("pando-worker"),)
    specs = [
        ServiceSpec("api", api, Tier.SERVICE, environment, f"{plan.url}/metrics"),
        measured("scheduler", scheduler, Tier.SERVICE, {}),
        measured("prepare", (*worker, "--prepare"), Tier.WORKER, {}),
    ]
    for device in plan.devices:
        name = f"worker-{device.replace(':', '')}"
        own = {"PANDO_DEVICE": device, "PANDO_WORKER_ID": worker_id(device)}
        own |= _threads(device) | _allocator(device)
        specs.append(measured(name, worker, Tier.WORKER, own))
    return specs


def worker_id(device: str) -> str:
    """Host and device, in letters that a queue's name can have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{socket.gethostname()}-{device}")


def _threads(device: str) -> dict[str, str]:
    """On a CPU, threads that wait must not spin: beside anyone else who wants the cores, a
    step took many times as long. Whoever has set it knows better."""
    if device != "cpu":
        return {}
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}


def _allocator(device: str) -> dict[str, str]:
    """On a GPU, microbatches of ever other sizes would cut the memory into useless pieces."""
    if device == "cpu":
        return {}
    return {"PYTORCH_ALLOC_CONF": os.environ.get("PYTORCH_ALLOC_CONF", "expandable_segments:True")}


def parse_models(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=PATH pairs; PATH is a folder, made absolute, or an id on the Hugging Face hub.

    Raises:
        UsageError: a pair is not one, or names a folder that is not there.
    """
    models: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path) or "," in pair:
            raise UsageError(
                f"--model wants NAME=PATH, without commas, got {pair!r}", param="model"
            )
        folder = Path(path).expanduser()
        if path.startswith((".", "/", "~")) and not folder.is_dir():
            raise UsageError(f"--model {name}: there is no folder {folder}", param="model")
        models[name] = str(folder.resolve()) if folder.is_dir() else path
    return models


def _script(name: str) -> str:
    """A console script of the environment we run in, whether or not it is on PATH."""
    script = Path(sys.executable).parent / name
    if not script.exists():
        raise StackError(
            f"{name} is not installed beside {sys.executable}",
            code="not_installed",
            hint="Run `make setup`, or install all of requirements.txt into this environment.",
        )
    return str(script)
