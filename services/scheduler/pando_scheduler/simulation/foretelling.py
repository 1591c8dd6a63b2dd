"""What simulated jobs are told of their start and end, to be held against the facts."""

from __future__ import annotations

from collections.abc import Mapping

from pando_scheduler.cluster import Cluster
from pando_scheduler.forecast import forecast
from pando_scheduler.simulation.site import Live
from pando_shared.forecasts import Forecast


class Foretelling:
    """Makes the scheduler's own forecasts every so many seconds; the first told are promises."""

    def __init__(self, cluster: Cluster, seconds: float):
        self._cluster, self._seconds = cluster, seconds
        self._told: Mapping[str, Forecast] = {}
        self._told_at = float("-inf")

    def look(self, now: float, jobs: Mapping[str, Live]) -> None:
        """Tell, if it is time to. `jobs` are all in the world, by id."""
        if now - self._told_at < self._seconds:
            return
        self._told_at = now
        found = forecast(self._cluster, now, self._told)
        self._told = {one.job_id: one for one in found}
        for one in found:
            outcome = jobs[one.job_id].outcome
            outcome.promised_finish = one.promised_finish
            if outcome.started is None:
                outcome.promised_start = one.promised_start
