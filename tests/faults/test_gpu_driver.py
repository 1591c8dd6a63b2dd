"""A driver that fails or hangs while a process trains beside it: NVML is a library of our own here,
loaded as the real one is, in a child whose parent serves its metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from local_stack import eventually
from prometheus_client.parser import text_string_to_metric_families
from redis_process import free_port

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, for a driver")

_WORKER = """
import logging, os, sys
from prometheus_client import CollectorRegistry
from pando_worker.relay import MetricsRelay

relay = MetricsRelay("worker")
relay.serve(int(sys.argv[1]), "127.0.0.1")
if os.fork():
    os.wait()
    sys.exit()
logging.basicConfig(level="INFO", format="%(message)s")
import torch
from engine_jobs import make_job
from pando_shared.adapters import LoraConfig
from pando_worker import gpu_metrics
from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.metrics import WorkerMetrics
from tiny_models import random_sequences

gpu_metrics._READ_SECONDS, gpu_metrics.SILENT_SECONDS = 0.1, 2.0  # sooner than in earnest
registry = CollectorRegistry()
metrics = WorkerMetrics(registry)
gpu_metrics.watch_gpu("GPU-1", registry)
relay.join(registry)
engine = Engine(load_base(sys.argv[2], "cpu", torch.float32), 512)
engine.join(make_job("a", LoraConfig(rank=4), random_sequences(1, 8), n_epochs=100_000))
while True:
    engine.step()
    metrics.step_seconds.observe(0.0)
"""


@dataclass
class Training:
    """A process that trains, the driver that it watches, and what it tells."""

    port: int
    driver: Path
    log: Path

    def driver_is(self, state: str) -> None:
        new = self.driver.with_suffix(".new")
        new.write_text(state)
        new.replace(self.driver)

    def metrics(self) -> dict[str, float]:
        try:
            text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5.0).text
        except httpx.ConnectError:  # it does not serve yet
            return {}
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def steps(self) -> float:
        return self.metrics().get("pando_step_duration_seconds_count", 0.0)

    def trains_on(self) -> bool:
        before = self.steps()
        return eventually(lambda: self.steps() >= before + 10, 30)

    def gpu_is_up(self, up: bool) -> bool:
        return eventually(lambda: self.metrics().get("pando_gpu_up") == up, 30)

    def said(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "NVML" in line]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1."""
    folder = tmp_path_factory.mktemp("nvml")
    made = folder / "libnvidia-ml.so.1"
    source = SUPPORT / "fake_nvml.c"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", made, source], check=True)
    return folder


@pytest.fixture
def training(library: Path, tmp_path: Path) -> Iterator[Training]:
    made = Training(free_port(), tmp_path / "driver", tmp_path / "log")
    made.driver_is("well")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        "FAKE_NVML": str(made.driver),
        "PYTHONPATH": str(SUPPORT),
        "OMP_NUM_THREADS": "1",
    }
    base = str(ROOT / "models" / "tiny-base")
    command = [sys.executable, "-c", _WORKER, str(made.port), base]
    with made.log.open("w") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)
    try:
        assert eventually(made.steps, 60), made.log.read_text()
        assert made.gpu_is_up(True)
        yield made
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.mark.parametrize(
    ("fault", "says"), [("lost", "GPU is lost"), ("hangs", "it has not answered for")]
)
def test_training_goes_on_and_the_gpus_metrics_come_back(
    training: Training, fault: str, says: str
) -> None:
    assert training.metrics()["pando_gpu_power_watts"] == 300
    training.driver_is(fault)
    assert training.gpu_is_up(False)
    assert "pando_gpu_power_watts" not in training.metrics()
    for _ in range(3):
        assert training.trains_on()
    assert training.metrics()["pando_gpu_up"] == 0
    (told,) = training.said()
    assert f"NVML tells nothing of the GPU: {says}" in told
    training.driver_is("well")
    assert training.gpu_is_up(True)
    assert training.metrics()["pando_gpu_power_watts"] == 300
    assert training.trains_on()
    assert training.said() == [told, "NVML tells of the GPU again"]
