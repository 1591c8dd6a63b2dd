"""A training process that is killed takes its measurements along, and none of what it counted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_stack import LocalStack, eventually
from prometheus_client.parser import text_string_to_metric_families
from stack_jobs import StackJobs

pytestmark = pytest.mark.e2e

DATA = Path(__file__).resolve().parents[2] / "examples" / "demo" / "pirate.jsonl"
LONG: dict[str, Any] = {
    "adapter": {"type": "lora"},
    "hyperparameters": {"batch_size": 8, "n_epochs": 100, "max_steps": 120},
}


class Scrape(dict[str, float]):
    """Samples of the series whose name is enough to know them; others are added up."""

    @classmethod
    def of(cls, url: str) -> Scrape:
        found = cls()
        for family in text_string_to_metric_families(httpx.get(url, timeout=5.0).text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found


def resumed_step(jobs: StackJobs, job_id: str) -> int:
    """The checkpoint from which the second child went on."""
    events = jobs.client.fine_tuning.jobs.list_events(job_id, limit=100)
    (step,) = [
        int(found[1])
        for event in events
        if (found := re.match(r"Training resumed from step (\d+) ", event.message))
    ]
    return step


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    often = {"PANDO_CHECKPOINT_SECONDS": "1", "PANDO_ROUND_SECONDS": "5"}
    with LocalStack(tmp_path / "home", environment=often).running() as made:
        yield made


def test_counters_go_on_and_gauges_end(stack: LocalStack) -> None:
    url = stack.up["metrics"]["worker-cpu"]
    jobs = StackJobs(stack, DATA)
    job_id = jobs.start("tiny", **LONG)
    jobs.wait_for_step(job_id, 40)
    assert eventually(lambda: Scrape.of(url).get("pando_job_step", 0.0) >= 40)
    child = stack.training_child()
    assert child is not None
    seen = [Scrape.of(url)]
    child.kill()
    child.wait(timeout=10)
    seen.append(Scrape.of(url))
    assert "pando_job_step" not in seen[-1]
    assert "pando_active_adapters" not in seen[-1]
    assert seen[-1]["pando_child_deaths_total"] == 1
    assert seen[-1]["pando_build_info"] == 1
    while jobs.get(job_id).status != "succeeded":
        seen.append(Scrape.of(url))
        assert jobs.get(job_id).status in ("queued", "running", "succeeded")
        time.sleep(0.2)
    assert eventually(lambda: "pando_job_step" not in Scrape.of(url))
    seen.append(Scrape.of(url))
    counted = [
        "pando_trained_tokens_total",
        "pando_step_duration_seconds_count",
        "pando_round_busy_seconds_total",
        "process_cpu_seconds_total",
    ]
    for name in counted:
        values = [scrape[name] for scrape in seen]
        assert values == sorted(values), (name, values)
        assert values[0] < values[-1]
    assert seen[-1]["pando_child_deaths_total"] == 1
    # What the one after it does is added to what it had told, to the step.
    resumed = resumed_step(jobs, job_id)
    steps = "pando_step_duration_seconds_count"
    assert seen[-1][steps] - seen[1][steps] == 120 - resumed
