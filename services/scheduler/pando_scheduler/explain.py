"""Why a job waits, in a sentence: what it needs, what there is, who is ahead, when it starts."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, WorkerView
from pando_scheduler.placement import bearable, is_quick, seat_on, within_limit
from pando_scheduler.shortlist import Shortlist, shortages, shortlist
from pando_scheduler.wording import ahead, counted, listed, rounded, sizes
from pando_shared.admission import Shortage, excess

_ALONE = Load()


@dataclass(frozen=True, slots=True)
class _Cause:
    """`in_line` says that waiting helps: then the job is also told its place in the queue."""

    text: str
    in_line: bool = True


class Explainer:
    """One look at the cluster. What jobs that are alike have in common is found out once."""

    def __init__(self, cluster: Cluster, now: float):
        self._cluster = cluster
        self._now = now
        self._draft = Draft(cluster, now)
        #: As if no worker were reserved.
        self._unreserved = Draft(cluster, now)
        self._unreserved.keepers = {}
        self._offers: dict[str, Shortlist | _Cause] = {}
        self._never: dict[Hashable, _Cause | None] = {}
        self._causes: dict[Hashable, _Cause] = {}

    def reason(self, job: JobView, position: int | None, starts_at: float | None) -> str:
        """Why the job waits. It names no job and no tenant but its own."""
        cause = self._cause(job)
        if not cause.in_line:
            return cause.text
        parts = [cause.text]
        if position is not None:
            parts.append(
                f"{counted(rounded(position - 1), 'job')} ahead"
                if position > 1
                else "first in line"
            )
        if starts_at is not None:
            parts.append(f"starts {ahead(starts_at - self._now)}")
        return "; ".join(parts)

    def could_start(self, job: JobView) -> bool:
        """Whether waiting helps: some live worker could train the job, and nobody holds it back."""
        return job.held is None and self._impossible(job) is None

    def _cause(self, job: JobView) -> _Cause:
        if job.worker_id is not None:
            return _Cause(f"waits for worker {job.worker_id} to save its checkpoint", in_line=False)
        if job.held is not None:
            return _Cause(job.held, in_line=False)
        found = self._impossible(job) or self._reserved(job) or self._limited(job)
        if found is not None:
            return found
        key = (job.shape, job.avoids)
        if key not in self._causes:
            self._causes[key] = self._unseated(job)
        return self._causes[key]

    # What no waiting mends

    def _impossible(self, job: JobView) -> _Cause | None:
        offers = self._offered(job.base_model)
        if isinstance(offers, _Cause):
            return offers
        key = (job.base_model, job.size, job.memory_ratio, job.avoids)
        if key not in self._never:
            self._never[key] = self._unfit(job, offers)
        return self._never[key]

    def _offered(self, base_model: str) -> Shortlist | _Cause:
        """The workers for a base, or why there are none."""
        if base_model not in self._offers:
            self._offers[base_model] = self._look_for(base_model)
        return self._offers[base_model]

    def _look_for(self, base_model: str) -> Shortlist | _Cause:
        workers = [self._cluster.workers[worker_id] for worker_id in sorted(self._cluster.workers)]
        if not workers:
            return _Cause("no worker is alive", in_line=False)
        offering = [worker for worker in workers if worker.offers(base_model)]
        if not offering:
            told = [f"{w.id} offers {listed(sorted(w.bases or ()))}" for w in workers[:3]]
            more = f"; {len(workers) - 3} more do not either" if len(workers) > 3 else ""
            text = f"no live worker offers base model {base_model!r}: {'; '.join(told)}{more}"
            return _Cause(text, in_line=False)
        able = tuple(worker for worker in offering if not worker.draining)
        if not able:
            names = listed([worker.id for worker in offering])
            text = f"every worker that offers base model {base_model!r} is being drained: {names}"
            return _Cause(text, in_line=False)
        return shortlist(self._draft, base_model, able)

    def _unfit(self, job: JobView, offers: Shortlist) -> _Cause | None:
        """Why no worker could train the job even alone; None: one could."""
        if self._draft.predict.footprint(job, offers.kinds[0]) is None:
            text = f"base model {job.base_model!r} is not configured at the scheduler"
            return _Cause(text, in_line=False)
        lacking: list[tuple[Shortage, ...]] = []
        for worker in offers.kinds:
            lacks = shortages(self._draft, job, worker, _ALONE)
            if not lacks:
                break
            lacking.append(lacks)
        else:
            least = min(lacking, key=excess)
            return _Cause(f"needs {_too_much(least, 'the largest worker has')}", in_line=False)
        if not job.avoids:
            return None
        left = (worker for worker in offers.able if worker.id not in job.avoids)
        if any(not shortages(self._draft, job, worker, _ALONE) for worker in left):
            return None
        lost = listed(job.avoids)
        text = f"avoids {lost}, which was lost with it, and no other worker has room for it"
        return _Cause(text, in_line=False)

    # What it waits for

    def _reserved(self, job: JobView) -> _Cause | None:
        reservation = self._cluster.reservations.get(job.id)
        if reservation is None:
            return None
        kept = f"worker {reservation.worker_id} is reserved for it"
        if reservation.due <= self._now:
            return _Cause(f"{kept} and is being emptied")
        return _Cause(f"{kept} and is emptied {ahead(reservation.due - self._now)} at the latest")

    def _limited(self, job: JobView) -> _Cause | None:
        limit = self._draft.policy.tenant(job.tenant).limit
        if limit is None:
            return None
        offers = self._offered(job.base_model)
        assert isinstance(offers, Shortlist)
        near = offers.near(job) or offers.kinds[:1]
        least = min(self._draft.claim_with(job, worker) for worker in near)
        if any(within_limit(self._draft, job, worker) for worker in near):
            return None
        use = self._cluster.accounts.claims.get(job.tenant, 0.0)
        return _Cause(
            f"its tenant has {use:.2f} workers, with it {least:.2f}, and may have {limit:g} at once"
        )

    def _unseated(self, job: JobView) -> _Cause:
        """Why a job that some worker could train has no seat on any now."""
        offers = self._offered(job.base_model)
        assert isinstance(offers, Shortlist)
        near = offers.near(job)
        for worker in near:
            if seat_on(self._draft, job, worker.id) is not None:
                return _Cause(f"worker {worker.id} has room and takes it next")
        for worker in near:
            if worker.id not in self._draft.keepers:
                continue
            if seat_on(self._unreserved, job, worker.id) is not None:
                return _Cause(
                    f"worker {worker.id}, which has room for it, is reserved for a job that has "
                    "waited too long"
                )
        unafraid = replace(job, avoids=())
        for worker_id in job.avoids:
            if worker_id in self._cluster.workers and seat_on(self._draft, unafraid, worker_id):
                return _Cause(f"avoids worker {worker_id}, which was lost with it")
        if job.alone:
            why = _why_alone(job)
            return _Cause(f"must train alone, since {why}, and no worker with room for it is empty")
        if not near:
            return _Cause(_elsewhere(job, offers))
        return self._crowded(job, near)

    def _crowded(self, job: JobView, near: list[WorkerView]) -> _Cause:
        """Why none of the workers with its base, or with none, takes the job."""
        lacking: list[tuple[WorkerView, tuple[Shortage, ...]]] = []
        for worker in near:
            lacks = shortages(self._draft, job, worker, self._draft.load(worker.id))
            if not lacks:
                return _Cause(self._busy(job, worker))
            lacking.append((worker, lacks))
        worker, lacks = min(lacking, key=lambda pair: (excess(pair[1]), pair[0].id))
        load = self._draft.load(worker.id)
        if not load.count:
            return _Cause(f"needs {_too_much(lacks, 'the largest free worker has')}")
        present = self._draft.predict.needs(worker, job.base_model, load.footprint)
        taken = {"host memory": present.host_bytes}
        beside = tuple(
            Shortage(
                lack.memory,
                lack.needed_bytes - taken.get(lack.memory, present.device_bytes),
                max(0, lack.budget_bytes - taken.get(lack.memory, present.device_bytes)),
            )
            for lack in lacks
        )
        jobs = f"the {counted(load.count, 'job')} in training on worker {worker.id}"
        return _Cause(f"needs {_too_much(beside, f'beside {jobs} there is')}")

    def _busy(self, job: JobView, worker: WorkerView) -> str:
        draft, load = self._draft, self._draft.load(worker.id)
        text = "each worker is as busy as it can be"
        if load.alone:
            return f"{text}: the job on worker {worker.id} must train alone"
        demand = load.demand + draft.predict.demand(job, worker)
        slowdown = draft.predict.slowdown(worker, job.base_model, demand, load.count + 1)
        allowed = bearable(draft, job, load, is_quick(job, worker))
        if slowdown > allowed:
            together = counted(load.count + 1, "job")
            return (
                f"{text}: {together} on worker {worker.id} would take {slowdown:.2f} times as long "
                f"as each alone, and {allowed:g} times is allowed"
            )
        jobs = counted(load.count, "job")
        return f"{text}: beside the {jobs} on worker {worker.id} it would add too little"


def _too_much(lacks: tuple[Shortage, ...], there: str) -> str:
    """What is needed, and what there is of it."""
    needed, available = [], []
    for lack in lacks:
        texts = sizes(lack.needed_bytes, lack.budget_bytes)
        needed.append(f"{texts[0]} of {lack.memory}")
        available.append(texts[1])
    return f"{' and '.join(needed)} with head-room, {there} {' and '.join(available)}"


def _why_alone(job: JobView) -> str:
    if job.size.out_of_memory:
        return "it ran out of memory beside others"
    lost = f"worker {listed(job.avoids)}" if job.avoids else "its worker"
    return f"{lost} was lost with it"


def _elsewhere(job: JobView, offers: Shortlist) -> str:
    names = listed([repr(base) for base in offers.elsewhere])
    workers = counted(sum(worker.id not in job.avoids for worker in offers.able), "worker")
    return f"waits for a worker: on {workers} that could take it {names} is trained now"
