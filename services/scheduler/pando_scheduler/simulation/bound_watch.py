"""Whether jobs that have starved come to a worker within the promised bound."""

from __future__ import annotations

import heapq
import math

from pando_scheduler.cluster import Cluster
from pando_scheduler.picture import JobView
from pando_scheduler.reservations import promised_seconds


class BoundWatch:
    """Notes what each job is promised when it starves. `change_seconds` is what a change of place
    takes: plans, a checkpoint and a base's loading."""

    def __init__(self, cluster: Cluster, change_seconds: float):
        self._cluster, self._change_seconds = cluster, change_seconds
        #: When jobs that wait come to starve, and their ids.
        self._starving: list[tuple[float, str]] = []
        #: By when each that has starved must have a place.
        self._due: dict[str, float] = {}

    def waits(self, job: JobView) -> None:
        """A job has come to the queue."""
        starves_at = job.queued_at + self._cluster.policy.starvation_seconds
        if math.isfinite(starves_at):
            heapq.heappush(self._starving, (starves_at, job.id))

    def look(self, now: float) -> None:
        """Note what is promised to the jobs that have starved since this was last called."""
        waiting = self._cluster.waiting
        since = now - self._cluster.policy.starvation_seconds
        while self._starving and self._starving[0][0] <= now:
            starved_at, job_id = heapq.heappop(self._starving)
            job = waiting.get(job_id)
            if job is None or job.queued_at > since:
                continue
            ahead = len(waiting.starved(job.queued_at))
            allowed = promised_seconds(self._cluster, ahead, self._change_seconds)
            self._due[job_id] = starved_at + allowed

    def excess(self, job_id: str, now: float) -> float:
        """By how many seconds a job that has its place now comes too late."""
        return max(0.0, now - self._due.pop(job_id, math.inf))

    def forget(self, job_id: str) -> None:
        self._due.pop(job_id, None)
