"""What a job would take."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Estimate(BaseModel):
    """Nothing here is a promise. `tokens` are those of all epochs together.

    `token_count` says how they were found: `counted` (the whole file, by the model's tokenizer),
    `sampled` (its first MiB, scaled up) or `bytes` (four bytes a token; the model has no
    tokenizer.json). `duration_seconds` is null until a worker has measured its speed,
    `earliest_start` (Unix seconds) while no worker is alive, or the scheduler has yet to look at a
    job ahead. Bytes are those of one worker that trains this job alone: of its GPU, or of all its
    memory if it has none, and of a GPU worker's host (0 on a CPU). `largest_worker_host_bytes` is
    null where the largest worker has no memory beside its device's, or no limit there.
    """

    object: Literal["fine_tuning.estimate"] = "fine_tuning.estimate"
    model: str
    method: str
    examples: int
    n_epochs: int
    batch_size: int
    learning_rate: float
    tokens: int
    token_count: Literal["counted", "sampled", "bytes"]
    steps: int
    predicted_peak_bytes: int
    predicted_host_bytes: int
    largest_worker_bytes: int | None
    largest_worker_host_bytes: int | None
    duration_seconds: float | None
    earliest_start: int | None
