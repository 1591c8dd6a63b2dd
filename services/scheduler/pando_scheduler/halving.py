"""Synchronous successive halving of a sweep (Jamieson & Talwalkar, 1502.07943, Algorithm 1).

Trials race from rung to rung. A rung is decided once every trial in the race has a loss there: the
best ceil(n / eta) of n go on, the others stop; of equal losses the lower job id is the better, and
a loss that is no finite number is the worst. Out of the race, and out of the count, are trials that
failed, were cancelled, or are paused. One that succeeded before the rung, stopped early or too
short to have it, is judged by its last validation loss, and keeps its adapter if it loses.

What was decided is read from the trials that lost: each carries the rung, and which trial was the
last to go on. So a decision carried out by halves is finished by the next look, none is taken
twice, and a paused trial that comes late is judged by the same line.

Trials of unlike lengths meet at the same shares of their training, counted back from the last rung.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pando_shared.errors import Conflict
from pando_shared.jobs import HalvingRule, Job, JobFailure, JobState, Yield, YieldCause
from pando_shared.records import Event
from pando_shared.rungs import WORST_LOSS, rung_loss, rung_steps
from pando_shared.store import Change

#: `JobFailure.code` of a trial that lost. Its `param` says where: `rung-RUNG:LAST_TO_GO_ON`.
STOPPED = "stopped_by_halving"
_VERDICT = re.compile(r"rung-(\d+):(.+)")
_RACING = (JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class StopTrial:
    """End a trial that lost at a rung (1 is the first). `last_kept` is the worst that goes on."""

    job_id: str
    epoch: int
    reason: str
    rung: int
    last_kept: str


@dataclass(frozen=True, slots=True)
class ParkTrial:
    """Have a trial that waits at a rung leave its worker to a trial that has yet to get there."""

    job_id: str
    epoch: int
    reason: str


def halve(group: Sequence[Job]) -> list[StopTrial | ParkTrial]:
    """What the rungs of a group decide now, whatever the order of its jobs.

    `group` are all jobs of one tenant's group, also those that have ended. A trial that waits at a
    rung is parked only where one of the group that has yet to get there is queued: the worst of
    those waiting first, one for each that is queued. Elsewhere it trains on, for its place would be
    of use to no other trial.
    """
    race = _run(group)
    return [*race.stops, *_parks(race)]


def held_back(group: Sequence[Job]) -> dict[str, str]:
    """The queued trials that must not be placed now, by id, and why each must wait."""
    race = _run(group)
    reasons = {stop.job_id: f"lost at rung {stop.rung} of its sweep" for stop in race.stops}
    reasons |= {job.id: race.reason for job in race.there}
    queued = {job.id for job in group if job.state is JobState.QUEUED}
    return {job_id: reason for job_id, reason in reasons.items() if job_id in queued}


def stopped(job: Job, decision: StopTrial, now: float) -> Change:
    """The trial ended, as cancelled.

    Raises:
        Conflict: it has changed hands, has ended or was paused since the decision.
    """
    if job.fenced(decision.epoch).state is JobState.PAUSED:
        raise Conflict(f"trial {job.id} was paused; it is judged when it is resumed")
    verdict = f"rung-{decision.rung}:{decision.last_kept}"
    ended = replace(
        job.to(JobState.CANCELLED),
        epoch=job.epoch + 1,
        finished_at=now,
        error=JobFailure(STOPPED, decision.reason, verdict),
    )
    return Change(ended, (Event(now, decision.reason),))


def parked(job: Job, decision: ParkTrial, now: float) -> Change:
    """The trial about to leave its worker.

    Raises:
        Conflict: it has changed hands, or does not run any more.
    """
    if job.fenced(decision.epoch).state is not JobState.RUNNING:
        raise Conflict(f"trial {job.id} is {job.state.value} and has no place to give up")
    if job.yielding is not None:
        return Change(job)
    leaving = replace(job, yielding=Yield(YieldCause.RUNG, decision.reason))
    return Change(leaving, (Event(now, f"Gives its place up: {decision.reason}"),))


@dataclass(slots=True)
class _Race:
    """Where the trials of a group stand: who stops, and who waits at the first undecided rung."""

    stops: list[StopTrial] = field(default_factory=list)
    #: Those with a loss at the rung that waits for the others, the best first.
    there: list[Job] = field(default_factory=list)
    behind: list[Job] = field(default_factory=list)
    reason: str = ""


def _run(group: Sequence[Job]) -> _Race:
    """Follow the trials from rung to rung, up to one that is not decided yet."""
    race = _Race()
    trials = sorted((job for job in group if job.spec.halving is not None), key=lambda job: job.id)
    if not trials or (rule := trials[0].spec.halving) is None:
        return race
    ladder = _Ladder.of(trials, rule)
    verdicts = dict(_verdicts(trials))
    racing = [job for job in trials if job.state in _RACING]
    for rung in range(1, ladder.rungs + 1):
        there = sorted(
            (job for job in racing if ladder.loss(job, rung) is not None),
            key=lambda job: ladder.standing(job, rung),
        )
        if rung in verdicts:
            line, last, why = _line(verdicts[rung], rung, trials, ladder)
        elif len(there) < len(racing):
            race.there = there
            race.behind = [job for job in racing if ladder.loss(job, rung) is None]
            race.reason = (
                f"waits for rung {rung} of its sweep: {len(there)} of {len(racing)} trials "
                "are there"
            )
            return race
        elif there:
            kept = -(-len(there) // rule.eta)
            last = there[kept - 1].id
            line = ladder.standing(there[kept - 1], rung)
            why = f"the best {kept} of {len(there)} go on"
        else:
            return race
        lost = [job for job in there if ladder.standing(job, rung) > line]
        race.stops += [
            StopTrial(job.id, job.epoch, f"{ladder.told(job, rung)}, {why}", rung, last)
            for job in lost
            if not job.state.terminal
        ]
        out = {job.id for job in lost}
        racing = [job for job in racing if job.id not in out]
    return race


def _parks(race: _Race) -> Iterator[ParkTrial]:
    wanted = sum(job.state is JobState.QUEUED for job in race.behind)
    running = [job for job in race.there if job.state is JobState.RUNNING]
    staying = [job for job in running if job.yielding is None]
    leaving = len(running) - len(staying)
    for job in staying[::-1][: max(0, wanted - leaving)]:
        yield ParkTrial(job.id, job.epoch, race.reason)


def _verdicts(trials: Sequence[Job]) -> Iterator[tuple[int, str]]:
    """The rungs that were decided, and the last trial that went on from each."""
    for job in trials:
        if job.error is not None and job.error.code == STOPPED:
            found = _VERDICT.fullmatch(job.error.param or "")
            if found is not None:
                yield int(found[1]), found[2]


def _line(
    last: str, rung: int, trials: Sequence[Job], ladder: _Ladder
) -> tuple[tuple[float, str], str, str]:
    """A decided rung's last standing to go on, whose it was, and how a latecomer is told."""
    loss = next((ladder.loss(job, rung) for job in trials if job.id == last), None)
    if loss is None:
        return (WORST_LOSS, last), last, "the rung is decided"
    return (loss, last), last, f"the last to go on had {_number(loss)}"


@dataclass(frozen=True, slots=True)
class _Ladder:
    """The rungs of each trial. `rungs`: of the trial that has most."""

    steps: Mapping[str, tuple[int, ...]]
    rungs: int

    @classmethod
    def of(cls, trials: Sequence[Job], rule: HalvingRule) -> _Ladder:
        steps = {job.id: rung_steps(job.progress.total_steps, rule) for job in trials}
        return cls(steps, max(len(own) for own in steps.values()))

    def _own(self, job: Job, rung: int) -> int:
        """The index of a rung among the trial's own; -1 or less where it has none at all.

        Short trials lack the first rungs, whose shares of them are less than a step: the first
        that they have stands for those too.
        """
        count = len(self.steps[job.id])
        return min(max(0, rung - 1 - (self.rungs - count)), count - 1)

    def loss(self, job: Job, rung: int) -> float | None:
        """The trial's loss at a rung; None: it is not there yet."""
        own = self._own(job, rung)
        if 0 <= own < len(job.progress.rung_losses):
            return rung_loss(job.progress.rung_losses[own])
        if job.state is JobState.SUCCEEDED:
            return rung_loss(job.progress.valid_loss)
        return None

    def standing(self, job: Job, rung: int) -> tuple[float, str]:
        """Sorts the best first."""
        return rung_loss(self.loss(job, rung)), job.id

    def told(self, job: Job, rung: int) -> str:
        own = self._own(job, rung)
        step = self.steps[job.id][own] if own >= 0 else job.progress.step
        loss = _number(rung_loss(self.loss(job, rung)))
        return f"Stopped by successive halving at step {step}: validation loss {loss}"


def _number(loss: float) -> str:
    return "not a number" if loss >= WORST_LOSS else f"{loss:.3f}"
