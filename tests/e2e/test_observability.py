"""Every panel has something to show of a real stack, and every alert is silent until its fault."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from local_stack import LocalStack, eventually
from prometheus_process import DEPLOY, Prometheus, prometheus
from stack_jobs import StackJobs

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs Prometheus: .ci/prometheus installs it"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "demo" / "pirate.jsonl"
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
#: Their expressions are evaluated, and have nothing to show where there is no GPU.
NEED_A_GPU = {
    "GPU utilisation",
    "GPU power",
    "GPU temperature",
    "Model FLOPs utilisation",
}
#: What Grafana puts in the place of its variables, at a reading a second.
VARIABLES = {"$__rate_interval": "4s", "$__range": "60s"} | dict.fromkeys(
    ("$worker", "$base_model", "$job_id"), ".*"
)
METHODS = ("lora", "paca", "meft")


@dataclass(frozen=True)
class Watched:
    """A stack that has trained, and the Prometheus that has watched it since `began`."""

    stack: LocalStack
    jobs: StackJobs
    prometheus: Prometheus
    began: float

    def panel(self, panel: dict[str, Any]) -> list[dict[str, Any]]:
        """All series that a panel would show, of all its queries."""
        found = []
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            if target["instant"]:
                found += self.prometheus.query(expression)
            else:
                found += self.prometheus.query_range(expression, self.began, time.time())
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    often = {"PANDO_ROUND_SECONDS": "2", "PANDO_CHECKPOINT_SECONDS": "1"}
    with LocalStack(folder / "home", environment=often).running() as stack:
        urls = (stack.up["metrics"][name] for name in ("api", "scheduler", "prepare"))
        addresses = (httpx.URL(url).netloc.decode() for url in urls)
        with prometheus(folder / "prometheus", *addresses) as watching:
            began = time.time()
            jobs = StackJobs(stack, DATA)
            started = [
                jobs.start(
                    "tiny",
                    adapter={"type": method},
                    validation_file=jobs.file_id,
                    hyperparameters={"batch_size": 4, "n_epochs": 2},
                )
                for method in METHODS
            ]
            for job_id in started:
                jobs.succeed(job_id)
            yield Watched(stack, jobs, watching, began)


def panels() -> list[Any]:
    made = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            if panel["type"] != "row":
                made.append(pytest.param(panel, id=f"{file.stem}: {panel['title']}"))
    return made


@pytest.mark.parametrize("panel", panels())
def test_a_panel_shows_something(watched: Watched, panel: dict[str, Any]) -> None:
    found = watched.panel(panel)
    if panel["title"] not in NEED_A_GPU:
        assert found, [target["expr"] for target in panel["targets"]]


def test_the_expressions_of_alerts_can_be_evaluated(watched: Watched) -> None:
    for file in (DEPLOY / "rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                watched.prometheus.query(rule["expr"])


def test_a_variable_finds_its_values(watched: Watched) -> None:
    (heartbeat,) = watched.prometheus.query("pando_worker_last_heartbeat_timestamp_seconds")
    (adapters,) = watched.prometheus.query("pando_active_adapters")
    assert heartbeat["metric"]["worker"] == adapters["metric"]["worker"]
    trained = watched.prometheus.query("pando_trained_tokens_total")
    assert {series["metric"]["method"] for series in trained} == set(METHODS)


@pytest.mark.parametrize("process", ["api", "scheduler", "prepare", "worker-cpu"])
def test_promtool_finds_no_fault_in_the_metrics(watched: Watched, process: str) -> None:
    text = httpx.get(watched.stack.up["metrics"][process]).text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_job_that_has_ended_has_no_series(watched: Watched) -> None:
    assert eventually(lambda: not watched.prometheus.query('{job_id=~".+"}'))


def test_the_first_failure_for_a_reason_is_an_increase(watched: Watched, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"messages": []}\n')
    job_id = watched.jobs.start("tiny", training_file=watched.jobs.upload(wrong))
    assert eventually(lambda: watched.jobs.get(job_id).status == "failed")
    failures = (
        'increase(pando_jobs_finished_total{status="failed",'
        'reason="invalid_training_file"}[5m]) > 0'
    )
    assert eventually(lambda: watched.prometheus.query(failures), 15)


def test_no_alert_fires_where_all_is_well(watched: Watched) -> None:
    assert eventually(lambda: watched.prometheus.firing() == set(), 15)


def test_a_scheduler_that_hangs_is_told_of(watched: Watched) -> None:
    scheduler = watched.stack.service("pando-scheduler")
    assert scheduler is not None
    scheduler.send_signal(signal.SIGSTOP)
    try:
        waits = watched.jobs.start("tiny")
        expected = {"PandoServiceDown", "PandoNothingRuns"}
        assert eventually(lambda: watched.prometheus.firing() == expected, 30)
    finally:
        scheduler.send_signal(signal.SIGCONT)
    watched.jobs.succeed(waits)
    assert eventually(lambda: watched.prometheus.firing() == set(), 30)
