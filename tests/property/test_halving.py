"""Whole sweeps, trial by trial, on few seats, with failures: each ends, and each rung is fair."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_trials import make_trial

from pando_scheduler.halving import (
    STOPPED,
    ParkTrial,
    StopTrial,
    halve,
    held_back,
    parked,
    stopped,
)
from pando_shared.jobs import HalvingRule, Job, JobState
from pando_shared.rungs import WORST_LOSS, rung_steps

NOW = 1_700_000_000.0
VALIDATING, QUEUED, RUNNING = JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING
PAUSED, SUCCEEDED = JobState.PAUSED, JobState.SUCCEEDED
FAILED, CANCELLED = JobState.FAILED, JobState.CANCELLED


class Sweep:
    """A cluster of a few seats that trains one sweep; `mishaps` is the chance of one a turn."""

    def __init__(self, rng: random.Random, rule: HalvingRule, mishaps: float) -> None:
        self.rng, self.rule, self.mishaps = rng, rule, mishaps
        count = rng.randint(1, 14)
        self.seats = rng.randint(1, max(1, count - 1))
        self.totals = {f"t{i:02}": rng.choice([1, 2, 5, 27, 40]) for i in range(count)}
        self.jobs = {
            name: make_trial(name, state=VALIDATING, rule=rule, total=0) for name in self.totals
        }
        #: By rung: the last trials that went on, as the decisions name them.
        self.lines: dict[int, set[str]] = {}
        #: Pairs of a loser and one that went on at the same rung, by their losses there.
        self.fair: list[tuple[float, float]] = []

    @property
    def group(self) -> list[Job]:
        found = list(self.jobs.values())
        self.rng.shuffle(found)
        return found

    def run(self) -> None:
        for _ in range(2000):
            if all(job.state.terminal for job in self.jobs.values()):
                return
            self._decide()
            self._leave()
            self._place()
            for job in list(self.jobs.values()):
                self._live(job)
        raise AssertionError(f"stuck: {self.jobs}")

    def _decide(self) -> None:
        decisions = halve(self.group)
        for decision in decisions:
            if self.rng.random() < 0.2:
                continue  # the process ended between two decisions, or one was overtaken
            job = self.jobs[decision.job_id]
            if isinstance(decision, ParkTrial):
                self.jobs[job.id] = parked(job, decision, NOW).job
                continue
            self.jobs[job.id] = stopped(job, decision, NOW).job
            self._remember(job, decision)

    def _remember(self, job: Job, decision: StopTrial) -> None:
        self.lines.setdefault(decision.rung, set()).add(decision.last_kept)
        last = self.jobs[decision.last_kept]
        if job.progress.total_steps == last.progress.total_steps and last.progress.rung_losses:
            rungs = len(rung_steps(job.progress.total_steps, self.rule))
            most = max(len(rung_steps(total, self.rule)) for total in self.totals.values())
            own = max(0, decision.rung - 1 - (most - rungs))
            losses = last.progress.rung_losses
            if own < len(losses):
                self.fair.append((job.progress.rung_losses[own], losses[own]))

    def _leave(self) -> None:
        for job in self.jobs.values():
            if job.state is RUNNING and job.yielding is not None and self.rng.random() < 0.7:
                left = replace(job.to(QUEUED), yielding=None, epoch=job.epoch + 1)
                self.jobs[job.id] = left

    def _place(self) -> None:
        held = held_back(self.group)
        free = self.seats - sum(job.state is RUNNING for job in self.jobs.values())
        for job in self.group:
            if free > 0 and job.state is QUEUED and job.id not in held:
                self.jobs[job.id] = replace(job.to(RUNNING), epoch=job.epoch + 1)
                free -= 1

    def _live(self, job: Job) -> None:
        if not job.state.terminal and self.rng.random() < self.mishaps:
            job = job.to(FAILED if self.rng.random() < 0.5 else CANCELLED)
        elif job.state in (QUEUED, RUNNING) and self.rng.random() < self.mishaps:
            job = replace(job.to(PAUSED), yielding=None)
        elif job.state is PAUSED and self.rng.random() < 0.2:
            job = job.to(QUEUED)
        elif job.state is VALIDATING and self.rng.random() < 0.5:
            progress = replace(job.progress, total_steps=self.totals[job.id])
            job = replace(job.to(QUEUED), progress=progress)
        elif job.state is RUNNING and job.yielding is None:
            job = self._trained(job, self.rng.randint(1, 6))
        self.jobs[job.id] = job

    def _trained(self, job: Job, steps: int) -> Job:
        total = job.progress.total_steps
        step = min(total, job.progress.step + steps)
        reached = sum(at <= step for at in rung_steps(total, self.rule))
        losses = list(job.progress.rung_losses)
        while len(losses) < reached:
            losses.append(self.rng.choice([WORST_LOSS, 1.0, 2.0, self.rng.random()]))
        progress = replace(job.progress, step=step, rung_losses=tuple(losses))
        if step < total:
            return replace(job, progress=progress)
        progress = replace(progress, valid_loss=self.rng.choice([math.nan, 1.5, None]))
        return replace(job.to(SUCCEEDED), progress=progress)


def lost(job: Job) -> bool:
    return job.error is not None and job.error.code == STOPPED


rules = st.builds(HalvingRule, st.integers(2, 4), st.integers(1, 3))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), rules, st.sampled_from([0.0, 0.01, 0.1]))
def test_every_sweep_ends_and_its_rungs_are_fair(
    seed: int, rule: HalvingRule, mishaps: float
) -> None:
    sweep = Sweep(random.Random(seed), rule, mishaps)
    sweep.run()
    jobs = sweep.jobs.values()
    assert not all(lost(job) for job in jobs)
    if mishaps == 0:
        assert {job.state for job in jobs if not lost(job)} == {SUCCEEDED}
    for loser, last in sweep.fair:
        assert loser >= last
    for names in sweep.lines.values():
        assert len(names) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), rules)
def test_decisions_depend_on_no_order_and_settle(seed: int, rule: HalvingRule) -> None:
    rng = random.Random(seed)
    group = [
        make_trial(
            f"t{i:02}",
            *(rng.choice([1.0, rng.random()]) for _ in range(rng.randint(0, 3))),
            rule=rule,
            state=rng.choice([QUEUED, RUNNING, PAUSED, FAILED]),
            total=81,
        )
        for i in range(rng.randint(1, 12))
    ]
    found = halve(group)
    shuffled = group.copy()
    rng.shuffle(shuffled)
    assert halve(shuffled) == found
    assert held_back(shuffled) == held_back(group)
    decided = {decision.job_id: decision for decision in found}
    after = []
    for job in group:
        decision = decided.get(job.id)
        if isinstance(decision, StopTrial):
            job = stopped(job, decision, NOW).job
        elif isinstance(decision, ParkTrial):
            job = parked(job, decision, NOW).job
        after.append(job)
    assert halve(after) == []


@given(st.integers(1, 10**15), st.builds(HalvingRule, st.integers(2, 9), st.integers(1, 12)))
def test_rungs_are_the_shares_of_training(total: int, rule: HalvingRule) -> None:
    steps = rung_steps(total, rule)
    assert steps == tuple(sorted(set(steps)))
    assert len(steps) <= rule.rungs
    assert all(1 <= step < total for step in steps)
    for k, step in enumerate(reversed(steps), 1):
        assert (step - 1) * rule.eta**k < total <= step * rule.eta**k
