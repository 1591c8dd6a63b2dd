"""A cluster in containers, for tests that bring up what docker-compose.yml describes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI

from pando_cli.stack.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
#: Where whoever drives the tests says what to build from; elsewhere the compose file's own.
IMAGES = ("PYTHON_IMAGE", "REDIS_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE")


def engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def compose_command() -> list[str]:
    """The plugin, else the program of its own that it was before."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def run(command: Sequence[str], **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class ComposeCluster:
    """One project of docker-compose.yml, of a name and on ports that nobody else has."""

    services: Sequence[str]
    project: str = field(default_factory=lambda: f"pando-test-{secrets.token_hex(4)}")
    variables: dict[str, str] = field(default_factory=dict)
    api_key: str = ""

    def __post_init__(self) -> None:
        self.variables = {
            "COMPOSE_PROJECT_NAME": self.project,
            "PANDO_PORT": str(free_port("127.0.0.1")),
            "PANDO_PROMETHEUS_PORT": str(free_port("127.0.0.1")),
            "PANDO_REDIS_PASSWORD": secrets.token_hex(8),
            **self.variables,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.variables['PANDO_PORT']}"

    @property
    def prometheus(self) -> str:
        return f"http://127.0.0.1:{self.variables['PANDO_PROMETHEUS_PORT']}"

    @cached_property
    def client(self) -> OpenAI:
        """One for all, which `running` closes. It retries what a restart cuts off."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.api_key, max_retries=5)

    def compose(self, *arguments: str) -> str:
        environment = {**os.environ, **self.variables}
        return run([*compose_command(), *arguments], env=environment, cwd=ROOT)

    def up(self, *options: str) -> None:
        self.compose("up", "--detach", *options, *self.services)
        eventually(self.ready, 120, "the API is not ready")

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    @contextmanager
    def running(self) -> Iterator[ComposeCluster]:
        try:
            self.up()
            self.api_key = self.create_key("acme")
            yield self
        finally:
            self.client.close()
            self.compose("down", "--volumes", "--timeout", "5")

    def create_key(self, tenant: str) -> str:
        told = self.inside("api", "pando", "keys", "create", "--tenant", tenant, "--json")
        return str(json.loads(told)["key"])

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers that run."""
        return self.compose("ps", "--quiet", service).split()

    def inspect(self, container: str) -> Mapping[str, Any]:
        return dict(json.loads(run(["docker", "inspect", container]))[0])

    def crash(self, service: str) -> None:
        """SIGKILL from outside, as when memory runs out; `docker kill` would count as our wish
        that it should stay away."""
        (container, *_) = self.containers(service)
        os.kill(self.inspect(container)["State"]["Pid"], signal.SIGKILL)


def eventually(
    condition: Callable[[], object], seconds: float, complaint: str | Callable[[], str]
) -> None:
    """Wait; fail with the complaint, as it is by then, if it takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(complaint if isinstance(complaint, str) else complaint())
        time.sleep(0.5)
