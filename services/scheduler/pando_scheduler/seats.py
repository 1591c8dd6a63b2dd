"""A live worker as the placement sees it: what it trains and what it could take in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pando_scheduler.cluster import Predictor, Rules
from pando_shared.admission import fits
from pando_shared.jobs import Job, JobState
from pando_shared.memory import Needs
from pando_shared.workers import Round, Worker


@dataclass(slots=True)
class Seats:
    """One worker's jobs: `occupants` hold memory, `joining` are about to.

    `occupants` are all jobs leased to it, also those about to leave: they count until they have.
    """

    worker: Worker
    rules: Rules
    predict: Predictor
    occupants: list[Job] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    joining: list[Job] = field(default_factory=list)

    @property
    def base_model(self) -> str | None:
        """The base it trains now or will next; None: it is idle and may take any."""
        for job in (*self.occupants, *self.joining):
            return job.spec.model
        return self.rounds[0].base_model if self.rounds else None

    @property
    def staying(self) -> list[Job]:
        return [job for job in self.occupants if job.state is JobState.RUNNING]

    @property
    def planned(self) -> Round | None:
        """The round that waits in its queue, if there is one."""
        return next((planned for planned in self.rounds if planned.started_at is None), None)

    def offers(self, base_model: str) -> bool:
        """A worker that lists no models is taken to have access to all."""
        return not self.worker.models or base_model in self.worker.models

    def needs_with(self, *jobs: Job) -> Needs | None:
        """Predicted peak with these jobs beside all others; None: the base is unknown."""
        together = (*self.occupants, *self.joining, *jobs)
        return self._predict(together)

    def needs_alone(self, job: Job) -> Needs | None:
        return self._predict((job,))

    def _predict(self, jobs: Sequence[Job]) -> Needs | None:
        if not jobs:
            return Needs(0)
        adapters = [job.spec.adapter for job in jobs]
        return self.predict(jobs[0].spec.model, adapters, self.worker)

    def fits(self, needs: Needs) -> bool:
        """Whether the worker's memories have room for them, with headroom."""
        return fits(self.worker, needs, self.rules.memory_headroom)


def seats_of(
    workers: Iterable[Worker],
    held: Iterable[Job],
    rounds: Iterable[Round],
    rules: Rules,
    predict: Predictor,
) -> list[Seats]:
    """Seats of every worker given, with the jobs that it holds and its rounds."""
    seats = {worker.id: Seats(worker, rules, predict) for worker in workers}
    for job in held:
        if job.lease is not None and job.lease.worker_id in seats:
            seats[job.lease.worker_id].occupants.append(job)
    for planned in rounds:
        if planned.worker_id in seats:
            seats[planned.worker_id].rounds.append(planned)
    return list(seats.values())
