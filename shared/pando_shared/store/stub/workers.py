"""Workers and the rounds planned for them, in memory."""

from __future__ import annotations

import threading
from dataclasses import replace

from pando_shared.store.order import oldest_first
from pando_shared.store.stub.signals import StubSignals
from pando_shared.workers import Round, Worker


class StubWorkers(StubSignals):
    """The part of `StubStore` that knows workers and rounds."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        self._workers: dict[str, Worker] = {}
        self._draining: dict[str, float] = {}
        self._rounds: dict[str, Round] = {}

    def put_worker(self, worker: Worker) -> None:
        with self._lock:
            self._workers[worker.id] = worker

    def list_workers(self) -> list[Worker]:
        with self._lock:
            return [self._workers[worker_id] for worker_id in sorted(self._workers)]

    def remove_worker(self, worker_id: str) -> None:
        with self._lock:
            self._workers.pop(worker_id, None)

    def set_draining(self, worker_id: str, since: float | None) -> None:
        with self._lock:
            if since is None:
                self._draining.pop(worker_id, None)
            else:
                self._draining[worker_id] = since
            self.wake()

    def draining(self) -> dict[str, float]:
        with self._lock:
            return dict(self._draining)

    def plan_round(self, planned: Round) -> None:
        with self._lock:
            self._rounds[planned.id] = planned

    def begin_round(
        self, round_id: str, worker_id: str, incarnation: str, now: float
    ) -> Round | None:
        with self._lock:
            planned = self._rounds.get(round_id)
            if planned is None or planned.started_at is not None:
                return None
            if (planned.worker_id, planned.incarnation) != (worker_id, incarnation):
                return None
            self._rounds[round_id] = replace(planned, started_at=now)
            self.wake()
            return self._rounds[round_id]

    def withdraw_round(self, round_id: str) -> bool:
        with self._lock:
            planned = self._rounds.get(round_id)
            if planned is None or planned.started_at is not None:
                return False
            del self._rounds[round_id]
            return True

    def end_round(self, round_id: str) -> None:
        with self._lock:
            self._rounds.pop(round_id, None)
            self.wake()

    def rounds_of(self, worker_id: str) -> list[Round]:
        return [planned for planned in self.rounds() if planned.worker_id == worker_id]

    def rounds(self) -> list[Round]:
        with self._lock:
            return oldest_first(self._rounds.values())
