"""The few workers by which a job is told why it waits: the likeliest that offer its base."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, Load, WorkerKind, WorkerView
from pando_shared import admission
from pando_shared.admission import Shortage
from pando_shared.footprint import Footprint

#: So many are kept of each sort: with most memory free, with least to do.
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Workers that could load one base and are not being emptied.

    `able` are all of them, `kinds` one of each kind, the largest first. `idle` and `busy` are some
    of those that have no job, or have jobs of this base. `elsewhere` are bases that others train.
    """

    able: tuple[WorkerView, ...]
    kinds: tuple[WorkerView, ...]
    idle: tuple[WorkerView, ...]
    busy: tuple[WorkerView, ...]
    elsewhere: tuple[str, ...]

    def near(self, job: JobView) -> list[WorkerView]:
        """Those on which the job could be trained now, were there room."""
        return [worker for worker in (*self.idle, *self.busy) if worker.id not in job.avoids]


def shortlist(draft: Draft, base_model: str, able: tuple[WorkerView, ...]) -> Shortlist:
    """Of the workers that offer a base and are not being drained."""
    loads = {worker.id: draft.load(worker.id) for worker in able}
    idle = [worker for worker in able if not loads[worker.id].count]
    busy = [worker for worker in able if loads[worker.id].base_model == base_model]
    others = {load.base_model for load in loads.values() if load.base_model is not None}
    kinds: dict[WorkerKind, WorkerView] = {}
    for worker in able:
        kinds.setdefault(worker.kind, worker)
    free = {worker.id: _free_bytes(draft, worker, loads[worker.id]) for worker in busy}
    return Shortlist(
        able=able,
        kinds=tuple(sorted(kinds.values(), key=lambda w: (-w.kind.budget_bytes, w.id))),
        idle=_first(
            heapq.nsmallest(_KEPT, idle, key=lambda w: (-w.kind.budget_bytes, w.id)),
            heapq.nsmallest(1, idle, key=lambda w: (-(w.kind.host_budget_bytes or 0), w.id)),
        ),
        busy=_first(
            heapq.nsmallest(_KEPT, busy, key=lambda w: (loads[w.id].demand, w.id)),
            heapq.nsmallest(_KEPT, busy, key=lambda w: (-free[w.id], w.id)),
        ),
        elsewhere=tuple(sorted(others - {base_model})),
    )


def shortages(draft: Draft, job: JobView, worker: WorkerView, load: Load) -> tuple[Shortage, ...]:
    """The worker's memories that cannot hold a job beside a load; none: there is room.

    Figures have head-room in them. The job's base must be known.
    """
    footprint = draft.predict.footprint(job, worker) or Footprint(1)
    needs = draft.predict.needs(worker, job.base_model, load.footprint + footprint)
    return admission.shortages(worker.kind.worker(), needs, headroom=0.0)


def _free_bytes(draft: Draft, worker: WorkerView, load: Load) -> int:
    if load.base_model is None or not draft.predict.knows(load.base_model):
        return worker.kind.budget_bytes
    needs = draft.predict.needs(worker, load.base_model, load.footprint)
    return worker.kind.budget_bytes - needs.device_bytes


def _first(*several: list[WorkerView]) -> tuple[WorkerView, ...]:
    """All of them, each once."""
    return tuple({worker.id: worker for workers in several for worker in workers}.values())
