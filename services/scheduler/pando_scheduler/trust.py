"""What a worker's word is worth: one that ran out of memory below its budget does not have it."""

from __future__ import annotations

from dataclasses import replace

from pando_shared.fleet import trusted
from pando_shared.reports import RoundReport
from pando_shared.workers import Worker

#: Of what a worker held when memory ran out, the share that it is trusted to have.
_SHARE_OF_PEAK = 0.95


class BudgetCaps:
    """Budgets that were found to be too high, by worker and incarnation: a new process may have
    more."""

    def __init__(self) -> None:
        self._caps: dict[tuple[str, str], int] = {}

    def observe(self, report: RoundReport) -> None:
        """Take in a round's report."""
        if report.out_of_memory and report.measured_bytes > 0:
            key = (report.worker_id, report.incarnation)
            cap = int(_SHARE_OF_PEAK * report.measured_bytes)
            self._caps[key] = min(cap, self._caps.get(key, cap))

    def apply(self, worker: Worker) -> Worker:
        """The worker with what it is trusted to have."""
        sane = trusted(worker)
        cap = self._caps.get((worker.id, worker.incarnation))
        if cap is None or cap >= sane.budget_bytes:
            return sane
        return replace(sane, budget_bytes=cap)
