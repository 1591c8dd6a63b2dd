"""Samples in memory: the requests that wait for a worker, and the text that comes back."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence

from pando_shared.clock import Clock
from pando_shared.store.values import SAMPLE_REQUEST_SECONDS, SAMPLE_TEXT_SECONDS
from pando_shared.workers import SampleChunk


class StubSamples:
    """The part of `StubStore` that knows samples."""

    def __init__(self, lock: threading.RLock, clock: Clock):
        self._lock = lock
        self._clock = clock
        self._samples: dict[str, tuple[list[SampleChunk], float]] = {}
        self._requests: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def push_sample_chunks(self, sample_id: str, chunks: Sequence[SampleChunk]) -> None:
        with self._lock:
            earlier = self.sample_chunks(sample_id, 0)
            self._samples[sample_id] = [*earlier, *chunks], self._clock.now()

    def sample_chunks(self, sample_id: str, start: int) -> list[SampleChunk]:
        with self._lock:
            chunks, at = self._samples.get(sample_id, ([], 0.0))
            return chunks[start:] if self._clock.now() - at < SAMPLE_TEXT_SECONDS else []

    def request_sample(self, worker_id: str, sample_id: str) -> None:
        with self._lock:
            self._requests[worker_id][sample_id] = self._clock.now()

    def samples_waiting(self, worker_id: str) -> int:
        with self._lock:
            since = self._clock.now() - SAMPLE_REQUEST_SECONDS
            return sum(at >= since for at in self._requests[worker_id].values())

    def sample_done(self, worker_id: str, sample_id: str) -> None:
        with self._lock:
            self._requests[worker_id].pop(sample_id, None)
