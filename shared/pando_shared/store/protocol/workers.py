"""What workers say of themselves, and which are being emptied."""

from __future__ import annotations

from typing import Protocol

from pando_shared.workers import Worker


class WorkerStore(Protocol):
    """The part of `Store` that knows workers."""

    def put_worker(self, worker: Worker) -> None: ...

    def list_workers(self) -> list[Worker]:
        """All that ever reported and were not removed, sorted by id; none whose record cannot be
        read."""
        ...

    def remove_worker(self, worker_id: str) -> None: ...

    def set_draining(self, worker_id: str, since: float | None) -> None:
        """Mark a worker as being emptied since then. None: no more. Wakes the scheduler.

        The mark outlives the worker's record, so that a worker that restarts stays empty.
        """
        ...

    def draining(self) -> dict[str, float]:
        """When each worker that is being emptied was marked, by its id."""
        ...
