"""Keeps the store's forecasts up to date, and watches how far off they were."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import Histogram

from pando_scheduler.forecast import changed, forecast
from pando_scheduler.metrics import SchedulerMetrics
from pando_scheduler.mirror import Mirror
from pando_scheduler.promises import finish_error, start_error
from pando_shared.forecasts import Forecast
from pando_shared.jobs import JobState
from pando_shared.store import ForecastStore

#: Forecasts are renewed this often; and after so many times what the last renewal took, so that a
#: long queue does not keep the scheduler busy with telling.
RENEW_SECONDS = 2.0
_TIMES_ITS_OWN = 10.0


class Forecaster:
    """Tells the store what to expect of each job that has not ended."""

    def __init__(self, store: ForecastStore, mirror: Mirror, metrics: SchedulerMetrics):
        self._store, self._mirror, self._metrics = store, mirror, metrics
        self._known: dict[str, Forecast] | None = None
        self._renewed_at = float("-inf")
        self._took_seconds = 0.0

    def is_due(self, now: float) -> bool:
        pause = max(RENEW_SECONDS, _TIMES_ITS_OWN * self._took_seconds)
        return not 0 <= now - self._renewed_at < pause

    def renew(self, now: float) -> None:
        """Work the forecasts out again, and write down those that changed."""
        self._renewed_at, began = now, time.perf_counter()
        if self._known is None:
            self._known = {found.job_id: found for found in self._store.all_forecasts()}
        before = self._known
        found = forecast(self._mirror.cluster, now, before)
        written = changed(found, before)
        self._store.put_forecasts(written)
        # Compared with what was written, not with what was thought since: drifts are told, too.
        after = {new.job_id: before.get(new.job_id, new) for new in found}
        after |= {new.job_id: new for new in written}
        gone = [job_id for job_id in before if job_id not in after]
        if gone:
            self._store.drop_forecasts(gone)
        self._judge(before)
        self._known = after
        self._took_seconds = time.perf_counter() - began

    def _judge(self, told: Mapping[str, Forecast]) -> None:
        """Compare what was promised first with what came: of jobs that have come to their first
        worker, and of those that have succeeded."""
        for job_id, promise in told.items():
            job = self._mirror.jobs.get(job_id)
            if promise.position is None or job is None or job.placed_at is None:
                continue
            if job.state is JobState.RUNNING and job.placed_at == job.started_at:
                _observe(self._metrics.start_error, start_error(promise, job.placed_at))
        for job in self._mirror.take_ended():
            if job.state is JobState.SUCCEEDED and job.finished_at is not None:
                error = finish_error(told.get(job.id), job.finished_at)
                _observe(self._metrics.finish_error, error)


def _observe(metric: Histogram, error: float | None) -> None:
    if error is not None:
        metric.observe(abs(error))
