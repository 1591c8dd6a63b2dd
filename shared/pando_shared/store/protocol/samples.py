"""Text that workers are asked for, and give back in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pando_shared.workers import SampleChunk


class SampleStore(Protocol):
    """The part of `Store` that knows samples."""

    def push_sample_chunks(self, sample_id: str, chunks: Sequence[SampleChunk]) -> None:
        """Chunks vanish an hour after the last."""
        ...

    def sample_chunks(self, sample_id: str, start: int) -> list[SampleChunk]:
        """Chunks from number `start` on that are there by now."""
        ...

    def request_sample(self, worker_id: str, sample_id: str) -> None:
        """Tell a worker that a sample waits, so that its round yields after the current step."""
        ...

    def samples_waiting(self, worker_id: str) -> int: ...

    def sample_done(self, worker_id: str, sample_id: str) -> None: ...
