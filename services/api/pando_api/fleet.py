"""The workers as the API sees them: who is alive, who could hold a job, who can answer a sample."""

from __future__ import annotations

from collections.abc import Sequence

from pando_shared.settings import Settings
from pando_shared.store import Store
from pando_shared.workers import Worker


def is_alive(worker: Worker, settings: Settings, now: float) -> bool:
    """As the scheduler sees it: a worker silent for longer than a lease has lost its jobs."""
    return now - worker.heartbeat_at <= settings.lease_seconds


def live_workers(store: Store, settings: Settings, now: float) -> list[Worker]:
    return [worker for worker in store.list_workers() if is_alive(worker, settings, now)]


def offering(workers: Sequence[Worker], model: str) -> list[Worker]:
    """Those that can load `model`; a worker that lists no models takes any."""
    return [worker for worker in workers if not worker.models or model in worker.models]
