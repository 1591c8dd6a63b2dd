"""The loop: look at the cluster, decide, carry it out, wait until something happens."""

from __future__ import annotations

import logging
import threading

from pando_scheduler.cluster import ClusterState, Predictor, PrepareSends, Rules
from pando_scheduler.decisions import Reprepare
from pando_scheduler.executor import Executor
from pando_scheduler.metrics import SchedulerMetrics
from pando_scheduler.schedule import schedule
from pando_shared.clock import Clock
from pando_shared.errors import Unavailable
from pando_shared.jobs import Job, JobState
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.messages import Messenger

log = logging.getLogger(__name__)

#: The longest between two looks: leases run out, and workers appear, without a wake-up.
POLL_SECONDS = 0.25
#: The pause after a look that failed.
RETRY_SECONDS = 1.0


class SchedulerLoop:
    """Runs `schedule` over the store. One in a cluster."""

    def __init__(
        self,
        store: Store,
        storage: Storage,
        messenger: Messenger,
        clock: Clock,
        rules: Rules,
        predict: Predictor,
        metrics: SchedulerMetrics,
    ):
        self._store = store
        self._clock = clock
        self._rules = rules
        self._predict = predict
        self._metrics = metrics
        self._executor = Executor(store, storage, messenger, clock, rules)
        self._prepares: dict[str, PrepareSends] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Outlives an absence of Redis or storage."""
        while not stop.is_set():
            try:
                self.tick()
                self._store.wait(POLL_SECONDS)
            except (Unavailable, OSError) as error:
                log.warning("trying again in %.0f s: %s", RETRY_SECONDS, error)
                stop.wait(RETRY_SECONDS)

    def tick(self) -> None:
        """One look at the cluster, and everything that follows from it."""
        with self._metrics.plan_seconds.time():
            now = self._clock.now()
            state = self._look()
            decisions = schedule(state, now, self._rules, self._predict)
        for decision in decisions:
            self._metrics.placements.inc(self._executor.execute(decision))
            if isinstance(decision, Reprepare):
                count = self._prepares.get(decision.job_id, PrepareSends(0, now)).count + 1
                self._prepares[decision.job_id] = PrepareSends(count, now)
        self._metrics.observe_jobs(self._store.count_jobs())
        self._metrics.observe_queue(state.jobs, now)

    def _look(self) -> ClusterState:
        workers, rounds = self._store.list_workers(), self._store.rounds()
        jobs: dict[str, Job] = {job.id: job for job in self._store.leased_jobs()}
        for job in self._store.jobs_in(JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING):
            jobs[job.id] = job
        validating = {job.id for job in jobs.values() if job.state is JobState.VALIDATING}
        self._prepares = {k: sent for k, sent in self._prepares.items() if k in validating}
        return ClusterState(tuple(jobs.values()), tuple(workers), tuple(rounds), self._prepares)
