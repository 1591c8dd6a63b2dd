"""What a job takes on each kind of device in the cluster, by which unlike jobs are compared."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from pando_scheduler.picture import JobSize, JobView, WorkerView
from pando_scheduler.prediction import Predictor

#: What so many unlike jobs take is remembered.
_REMEMBERED = 1 << 14


class Takes:
    """Knows one worker of each kind of device, and asks the predictor about that."""

    def __init__(self, predict: Predictor):
        self._predict = predict
        self._version = predict.version
        self._workers: dict[Hashable, dict[str, WorkerView]] = {}
        self._known: dict[tuple[JobSize, float | None, str], tuple[float, ...]] = {}

    def put(self, worker: WorkerView) -> None:
        """Learn of a worker, or of a change in it. What is known of it must be dropped first."""
        like = _device(worker)
        if like not in self._workers:
            self._known.clear()
        self._workers.setdefault(like, {})[worker.id] = worker

    def drop(self, worker: WorkerView) -> None:
        """Forget a worker."""
        like = _device(worker)
        del self._workers[like][worker.id]
        if not self._workers[like]:
            del self._workers[like]
            self._known.clear()

    def of(self, job: JobView) -> tuple[float, ...]:
        """A job's share of tokens and all that decides its memory, on each kind of device."""
        if self._version != self._predict.version:
            self._known.clear()
            self._version = self._predict.version
        key = (job.size, job.memory_ratio, job.base_model)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[key] = tuple(self._measured(job))
        return found

    def _measured(self, job: JobView) -> Iterator[float]:
        for like in sorted(self._workers, key=repr):
            worker = next(iter(self._workers[like].values()))
            yield self._predict.demand(job, worker)
            footprint = self._predict.footprint(job, worker)
            if footprint is not None:
                yield from (footprint.device_bytes, footprint.margin_bytes, footprint.host_bytes)
                yield from footprint.largest


def _device(worker: WorkerView) -> Hashable:
    """What makes jobs take alike of two workers."""
    kind = worker.kind
    return kind.device, kind.device_kind, kind.token_budget, kind.base_format, kind.rows_on_disk
