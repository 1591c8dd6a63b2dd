"""The page on metrics lists all that there are; the dashboards are what their builder makes; what
Prometheus is given is what promtool takes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import yaml
from factories import make_job
from prometheus_client import CollectorRegistry, Metric

from pando_api.metrics import Metrics
from pando_scheduler.metrics import SchedulerMetrics
from pando_scheduler.storage_metrics import StorageMetrics
from pando_shared.clock import FakeClock
from pando_shared.failure_codes import OF_THE_JOB, OF_THE_SERVICE
from pando_shared.jobs import Progress
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.redis.server_metrics import watch_redis
from pando_shared.store.stub import StubStore
from pando_worker.gpu_metrics import GpuMetrics
from pando_worker.gpu_reader import GpuReader
from pando_worker.metrics import WorkerMetrics
from pando_worker.prepare import PrepareMetrics
from pando_worker.relay import MetricsRelay

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "observing.md").read_text()
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Prometheus: .ci/prometheus installs it"
)


def api() -> list[Metric]:
    clock = FakeClock()
    metrics = Metrics(StubStore(clock), Settings(), clock)
    return list(metrics.registry.collect())


def scheduler(folder: Path, redis_url: str) -> list[Metric]:
    registry = SchedulerMetrics().registry
    registry.register(StorageMetrics(Storage(f"file://{folder}")))
    watch_redis(redis_url, list, registry)
    return list(registry.collect())


def served(service: str, registry: CollectorRegistry) -> list[Metric]:
    """What the parent of a process with that registry offers."""
    relay = MetricsRelay(service)
    relay.close()
    return [*relay.registry.collect(), *registry.collect()]


def worker() -> list[Metric]:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    job = make_job()
    metrics.jobs.enter(job.id, job.spec, Progress(), 1)
    # Any number will do for each of the driver's answers: what counts here are the names.
    nvml = MagicMock(NVMLError=KeyError)
    nvml.nvmlEventSetWait_v2.side_effect = KeyError
    for answer in ("PowerUsage", "Temperature"):
        getattr(nvml, f"nvmlDeviceGet{answer}").return_value = 1
    gpu = GpuMetrics("GPU-1", GpuReader("GPU-1", lambda: nvml))
    gpu.take()
    registry.register(gpu)
    return served("worker", registry)


def prepare() -> list[Metric]:
    registry = CollectorRegistry()
    PrepareMetrics(registry)
    return served("prepare", registry)


def documented(heading: str) -> dict[str, str]:
    """Name and type of each metric in the table below a heading."""
    section = PAGE.split(f"### {heading}\n")[1].split("\n#")[0]
    return dict(re.findall(r"^\| `(pando_\w+)(?:\{[^`]*\})?` \| (\w+) \|", section, re.MULTILINE))


def offered(families: list[Metric]) -> dict[str, str]:
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in families
    }


def test_all_metrics_are_documented(tmp_path: Path, redis_url: str) -> None:
    assert documented("API") == offered(api())
    assert documented("Scheduler") == offered(scheduler(tmp_path, redis_url))
    assert documented("Prepare") == offered(prepare())
    assert documented("Worker") == offered(worker())


def test_every_alert_has_a_section_that_says_what_to_do_and_leads_there() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())
    made = {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^## (Pando\w+)\n\n\*\*(\w+)\*\*: .+\n", page, re.MULTILINE))
    assert told == {name: rule["labels"]["severity"] for name, rule in made.items()}
    for name, rule in made.items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"


def test_all_reasons_of_failures_are_documented() -> None:
    section = PAGE.split("## Why jobs fail\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert listed == [*OF_THE_JOB.items(), *OF_THE_SERVICE.items()]


def test_the_alert_on_failures_goes_by_those_that_no_user_can_mend() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())
    (rule,) = (
        rule
        for group in rules["groups"]
        for rule in group["rules"]
        if rule["alert"] == "PandoJobsFail"
    )
    (reasons,) = re.findall(r'reason=~"([\w|]+)"', rule["expr"])
    assert reasons.split("|") == list(OF_THE_SERVICE)


def test_each_alert_is_tested() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    text = (PROMETHEUS / "tests" / "alerts.yml").read_text()
    assert set(re.findall(r'labels: .*alertname="(\w+)"', text)) == names


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules/alerts.yml", "rules/objectives.yml"),
        ("test", "rules", "tests/alerts.yml"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_promtool_finds_no_fault(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_are_what_the_builder_makes(tmp_path: Path) -> None:
    copy = shutil.copytree(GRAFANA, tmp_path / "grafana")
    for file in (copy / "dashboards").glob("*.json"):
        file.unlink()
    subprocess.run([sys.executable, copy / "build.py"], check=True)
    made = {file.name: file.read_text() for file in (copy / "dashboards").iterdir()}
    kept = {file.name: file.read_text() for file in (GRAFANA / "dashboards").iterdir()}
    assert made == kept


def test_the_dashboards_find_the_datasource() -> None:
    file = GRAFANA / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    for dashboard in (GRAFANA / "dashboards").iterdir():
        assert set(re.findall(r'"uid": "(pando-prometheus|\$?\w+)"', dashboard.read_text())) == {
            source["uid"]
        }
