"""A real Prometheus that reads a stack by the project's own configuration, only more often."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from redis_process import free_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
#: Seconds between two readings, and two evaluations of the rules.
INTERVAL = "1s"


@dataclass(frozen=True)
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self._ask("query", {"query": expression})

    def query_range(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        span = {"start": start, "end": end, "step": 1}
        return self._ask("query_range", {"query": expression, **span})

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {series["metric"]["alertname"] for series in found}

    def _ask(self, what: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/{what}", data=parameters, timeout=30).json()
        assert answer["status"] == "success", f"{parameters['query']}: {answer.get('error')}"
        assert not answer.get("warnings"), f"{parameters['query']}: {answer['warnings']}"
        return answer["data"]["result"]


@contextmanager
def prometheus(folder: Path, api: str, scheduler: str, prepare: str) -> Iterator[Prometheus]:
    """Reads the services at these `host:port`, and the workers that the API names.

    Alerts do not wait for their `for`.
    """
    program = shutil.which("prometheus")
    assert program is not None, "see .ci/prometheus"
    _write_rules(folder)
    _write_config(folder, {"api": api, "scheduler": scheduler, "prepare": prepare})
    port = free_port()
    own = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    own += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([program, *own], stdout=log, stderr=log)
    try:
        made = Prometheus(f"http://127.0.0.1:{port}")
        _await(made.url, folder / "prometheus.log")
        yield made
    finally:
        process.terminate()
        process.wait()


def _write_config(folder: Path, targets: dict[str, str]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), INTERVAL)
    for job in config["scrape_configs"]:
        if job.pop("dns_sd_configs", None):  # here is no such name
            job["static_configs"] = [{}]
        for group in job.get("static_configs", ()):
            group["targets"] = [targets[job["job_name"]]]
        for found in job.get("http_sd_configs", ()):
            found["url"] = found["url"].replace("api:8000", targets["api"])
            found["refresh_interval"] = INTERVAL
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))


def _write_rules(folder: Path) -> None:
    (folder / "rules").mkdir(parents=True)
    for file in (DEPLOY / "rules").glob("*.yml"):
        rules = yaml.safe_load(file.read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        (folder / "rules" / file.name).write_text(yaml.safe_dump(rules))


def _await(url: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/-/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(f"prometheus did not start: {log.read_text()}")
