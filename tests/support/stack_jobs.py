"""Jobs on a running stack through the stock client, and what they left in its home."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from local_stack import LocalStack
from numpy.typing import NDArray
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from safetensors.numpy import load_file

ENDED = ("succeeded", "failed", "cancelled")
#: Longer than any wait here takes on two busy cores.
PATIENCE_SECONDS = 120.0
COMPLETED = "The job has successfully completed"

Weights = Mapping[str, NDArray[np.float32]]


@dataclass
class StackJobs:
    """One tenant's jobs, all on one training file unless a job names another."""

    stack: LocalStack
    data: Path
    client: OpenAI = field(init=False)
    file_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.stack.client()
        self.file_id = self.upload(self.data)

    def upload(self, path: Path) -> str:
        return self.client.files.create(file=path, purpose="fine-tune").id

    def start(self, model: str, **knobs: Any) -> str:
        body = {"training_file": self.file_id, **knobs}
        file_id = body.pop("training_file")
        job = self.client.fine_tuning.jobs.create(
            model=model, training_file=file_id, extra_body=body
        )
        return job.id

    def get(self, job_id: str) -> FineTuningJob:
        return self.client.fine_tuning.jobs.retrieve(job_id)

    def step(self, job_id: str) -> int:
        """Optimizer steps finished, as last reported."""
        return int(self.get(job_id).progress["step"])  # type: ignore[attr-defined]

    def wait(
        self, job_id: str, until: Callable[[FineTuningJob], bool], seconds: float = PATIENCE_SECONDS
    ) -> FineTuningJob:
        """The job once `until` holds of it."""
        deadline = time.monotonic() + seconds
        while not until(job := self.get(job_id)):
            assert job.status not in ENDED, f"{job_id} ended as {job.status}: {job.error}"
            assert time.monotonic() < deadline, f"{job_id} is still {job.status}: {job}"
            time.sleep(0.05)
        return job

    def wait_for_step(self, job_id: str, step: int) -> None:
        self.wait(job_id, lambda job: job.progress["step"] >= step)  # type: ignore[attr-defined]

    def succeed(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> FineTuningJob:
        return self.wait(job_id, lambda job: job.status == "succeeded", seconds)

    def messages(self, job_id: str) -> list[str]:
        """What the job's events say, oldest first."""
        events = self.client.fine_tuning.jobs.list_events(job_id, limit=100)
        return [event.message for event in events][::-1]

    def losses(self, job_id: str) -> dict[int, float]:
        """Training loss by step."""
        events = self.client.fine_tuning.jobs.list_events(job_id, limit=100)
        found = [event.data for event in events if event.type == "metrics"]
        return {data["step"]: data["train_loss"] for data in found if "train_loss" in data}

    def adapter(self, job_id: str) -> Path:
        return self.stack.home / "storage" / "jobs" / job_id / "export"

    def weights(self, job_id: str) -> Weights:
        return load_file(self.adapter(job_id) / "adapter_model.safetensors")


def same_bits(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )


def relative_difference(one: Weights, other: Weights) -> float:
    """|one - other| / |one| over all tensors together."""
    assert one.keys() == other.keys()
    changed = sum(float(np.sum((one[name] - other[name]) ** 2, dtype=np.float64)) for name in one)
    whole = sum(float(np.sum(one[name] ** 2, dtype=np.float64)) for name in one)
    return math.sqrt(changed / whole)
