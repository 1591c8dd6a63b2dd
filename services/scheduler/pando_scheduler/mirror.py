"""The store's jobs, workers and rounds in memory, and the cluster's picture kept in step with them.

Reads what has changed since the last look: a look at 10,000 jobs of which none changed is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pando_scheduler.cluster import Cluster
from pando_scheduler.halving import held_back
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, WorkerKind, WorkerView
from pando_scheduler.rules import Rules
from pando_scheduler.trust import BudgetCaps
from pando_scheduler.views import view_job, view_worker
from pando_shared.jobs import Job, JobState
from pando_shared.store import Store
from pando_shared.workers import Round, Worker


class Mirror:
    """What the loop knows between two looks."""

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        predict: LearntPredictor,
        rules: Rules,
        tell: Callable[[Job | None, Job], None],
    ):
        """`tell` hears of each job that has changed: how it was before, and how it is now."""
        self.cluster = cluster
        self.jobs: dict[str, Job] = {}
        self.workers: dict[str, Worker] = {}
        self.rounds: list[Round] = []
        self.caps = BudgetCaps()
        self._store, self._predict, self._rules = store, predict, rules
        self._tell = tell
        self._cursor: int | None = None
        self._held: dict[str, str] = {}
        self._first: dict[str, WorkerKind | None] = {}
        self._changed_sweeps: set[tuple[str, str]] = set()
        self._ended: list[Job] = []
        self._exportable: set[str] = set()
        #: Whether the store has forgotten what it had told: it is another, or one that restarted,
        #: and may have lost something. Whoever has seen to that sets it back.
        self.forgetful = False

    def look(self, now: float) -> None:
        """Take in what has changed.

        Raises:
            Unavailable: the store does not answer. The next look finds what this one missed.
        """
        self.rounds = self._store.rounds()
        self._look_at_workers(self._store.list_workers(), self._store.draining(), now)
        self.look_at_jobs(now)

    def look_at_jobs(self, now: float) -> None:
        """Take in what has changed of jobs alone."""
        changes = self._store.changed_jobs(self._cursor)
        if changes.whole:
            self.forgetful = True
            known = {job.id for job in changes.jobs}
            for job_id in [job_id for job_id in self.jobs if job_id not in known]:
                self._forget(job_id, now)
        for job_id in changes.gone:
            self._forget(job_id, now)
        self._hold_trials(changes.jobs, now)
        for job in changes.jobs:
            if not changes.whole:  # else nobody knows what has been told of it already
                self._tell(self.jobs.get(job.id), job)
            self.put(job, now)
        self._cursor = changes.cursor

    def put(self, job: Job, now: float) -> None:
        """Take in one job."""
        if job.state.terminal and job.lease is None:
            self._ended.append(job)
            self._forget(job.id, now)
            return
        self.jobs[job.id] = job
        waits = job.state is JobState.QUEUED and job.lease is None
        if not waits and job.lease is None:
            self.cluster.drop_job(job.id, now)
            return
        self.cluster.put_job(self._view(job, now), now)

    def _view(self, job: Job, now: float) -> JobView:
        view = view_job(
            job,
            self._reference(job),
            self._predict,
            self.cluster.workers,
            now,
            self._rules.suspect_attempts,
        )
        return replace(view, held=self._held.get(job.id))

    def _reference(self, job: Job) -> WorkerKind | None:
        """The kind of worker that a job's time is told for: its own, else the first that offers."""
        workers, base = self.cluster.workers, job.spec.model
        if job.lease is not None and (own := workers.get(job.lease.worker_id)) is not None:
            return own.kind
        if base not in self._first:
            ids = sorted(worker.id for worker in workers.values() if worker.offers(base))
            self._first[base] = workers[ids[0]].kind if ids else None
        return self._first[base]

    def view_again(self, now: float) -> None:
        """Look anew at everything that rests on predictions, and on who is there."""
        for job in list(self.jobs.values()):
            self.put(job, now)
        self.cluster.touch_all(now)

    def live(self, *states: JobState) -> list[Job]:
        """Jobs in these states, by id."""
        return sorted((j for j in self.jobs.values() if j.state in states), key=lambda j: j.id)

    def _forget(self, job_id: str, now: float) -> None:
        known = self.jobs.pop(job_id, None)
        if known is not None and known.spec.integrations:
            self._exportable.add(job_id)
        self._held.pop(job_id, None)
        self.cluster.drop_job(job_id, now)

    def _look_at_workers(
        self, found: Iterable[Worker], draining: Mapping[str, float], now: float
    ) -> None:
        self.workers = {worker.id: worker for worker in found}
        alive: dict[str, WorkerView] = {}
        for worker in self.workers.values():
            if self._rules.alive(worker, now):
                capped = self.caps.apply(worker)
                alive[worker.id] = view_worker(capped, worker.id in draining)
        self._first.clear()
        came = alive.keys() - self.cluster.workers.keys()
        gone = self.cluster.workers.keys() - alive.keys()
        for worker_id in gone:
            self.cluster.drop_worker(worker_id, now)
        for view in alive.values():
            self.cluster.put_worker(view, now)
        if came or gone:
            # How long jobs take and whom they avoid rests on who is there.
            for job in self.jobs.values():
                if job.state is JobState.QUEUED and job.lease is None:
                    self.cluster.put_job(self._view(job, now), now)

    def _hold_trials(self, changed: Iterable[Job], now: float) -> None:
        """Find out which trials of the changed jobs' sweeps must wait for a rung."""
        groups = {
            (job.spec.tenant, job.spec.group)
            for job in changed
            if job.spec.group is not None and job.spec.halving is not None
        }
        self._changed_sweeps |= groups
        for tenant, group in sorted(groups):
            trials = self._store.jobs_of_group(tenant, group)
            held = held_back(trials)
            for trial in trials:
                before = self._held.pop(trial.id, None)
                if trial.id in held:
                    self._held[trial.id] = held[trial.id]
                if before != held.get(trial.id) and trial.id in self.jobs:
                    self.put(self.jobs[trial.id], now)

    def take_ended(self) -> list[Job]:
        """Jobs that have ended since this was last asked."""
        ended, self._ended = self._ended, []
        return ended

    def take_exportable(self) -> list[str]:
        """Ids of jobs with integrations that were live and are no more since this was last asked:
        each once, however often an ended job is written to."""
        ended, self._exportable = sorted(self._exportable), set()
        return ended

    def take_changed_sweeps(self) -> set[tuple[str, str]]:
        """Tenant and group of the sweeps that have changed since this was last asked."""
        changed, self._changed_sweeps = self._changed_sweeps, set()
        return changed
