"""Workers by what is in their memory and how full they are: where to look for room first."""

from __future__ import annotations

from bisect import bisect_left, insort

from pando_scheduler.picture import Load, WorkerView

#: Workers in use are kept by their demand, in steps of one eighth of a worker; 2 and more are one.
LOAD_STEPS = 17
STEPS_A_WORKER = 8
_NOBODY: list[list[str]] = [[] for _ in range(LOAD_STEPS)]


def load_step(load: Load) -> int:
    return min(LOAD_STEPS - 1, int(load.demand * STEPS_A_WORKER + 1e-9))


class WorkerLists:
    """Every worker in one line: of the idle ones with its base, or of those in use as it is."""

    def __init__(self) -> None:
        self._idle: dict[str | None, list[tuple[int, str]]] = {}
        self._busy: dict[str, list[list[str]]] = {}
        #: Where each worker is: its base, and its step, or its budget if it is idle.
        self._in_use: dict[str, tuple[str, int]] = {}
        self._unused: dict[str, tuple[str | None, int]] = {}

    def idle(self, base_model: str | None) -> list[tuple[int, str]]:
        """Workers without a job that have this base in memory (None: no base): (budget, id),
        smallest first."""
        return self._idle.get(base_model, [])

    def idle_bases(self) -> list[str | None]:
        """What idle workers have in memory."""
        return sorted((base for base, found in self._idle.items() if found), key=str)

    def busy(self, base_model: str) -> list[list[str]]:
        """Ids of workers with jobs on this base, sorted, by `load_step` of their demand."""
        return self._busy.get(base_model, _NOBODY)

    def put(self, worker: WorkerView, load: Load) -> None:
        """Put a worker where it belongs with this load."""
        self.drop(worker.id)
        if load.base_model is None:
            budget = worker.kind.budget_bytes
            insort(self._idle.setdefault(worker.base_model, []), (budget, worker.id))
            self._unused[worker.id] = worker.base_model, budget
            return
        steps = self._busy.setdefault(load.base_model, [[] for _ in range(LOAD_STEPS)])
        step = load_step(load)
        insort(steps[step], worker.id)
        self._in_use[worker.id] = load.base_model, step

    def drop(self, worker_id: str) -> None:
        """Take a worker out, if it is there."""
        if worker_id in self._unused:
            idle_base, budget = self._unused.pop(worker_id)
            line = self._idle[idle_base]
            del line[bisect_left(line, (budget, worker_id))]
        elif worker_id in self._in_use:
            base_model, step = self._in_use.pop(worker_id)
            ids = self._busy[base_model][step]
            del ids[bisect_left(ids, worker_id)]
