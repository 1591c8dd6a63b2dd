"""What the scheduler is told, learns and foresees, in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from pando_shared.forecasts import Forecast, Usage
from pando_shared.reports import RoundReport
from pando_shared.store.values import REPORTS_KEPT


class StubKnowledge:
    """The part of `StubStore` that knows reports, what was learnt of them, usage and forecasts."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        self._reports: deque[RoundReport] = deque()
        self._learnt: dict[str, str] = {}
        self._usage: dict[str, Usage] = {}
        self._forecasts: dict[str, Forecast] = {}

    def push_report(self, report: RoundReport) -> None:
        with self._lock:
            self._reports.append(report)
            if len(self._reports) > REPORTS_KEPT:
                self._reports.popleft()

    def take_reports(self, limit: int = 1000) -> list[RoundReport]:
        with self._lock:
            return [self._reports.popleft() for _ in range(min(limit, len(self._reports)))]

    def put_learnt(self, key: str, text: str) -> None:
        with self._lock:
            self._learnt[key] = text

    def learnt(self) -> dict[str, str]:
        with self._lock:
            return dict(self._learnt)

    def put_usage(self, usages: Iterable[Usage]) -> None:
        with self._lock:
            self._usage.update({usage.tenant: usage for usage in usages})

    def usage(self) -> dict[str, Usage]:
        with self._lock:
            return dict(self._usage)

    def put_forecasts(self, forecasts: Iterable[Forecast]) -> None:
        with self._lock:
            self._forecasts.update({forecast.job_id: forecast for forecast in forecasts})

    def drop_forecasts(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                self._forecasts.pop(job_id, None)

    def forecasts(self, job_ids: Sequence[str]) -> list[Forecast | None]:
        with self._lock:
            return [self._forecasts.get(job_id) for job_id in job_ids]

    def all_forecasts(self) -> list[Forecast]:
        with self._lock:
            return sorted(self._forecasts.values(), key=lambda forecast: forecast.job_id)
