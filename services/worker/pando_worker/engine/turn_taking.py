"""Whose turn it is to be trained: keeps what each job got, and in what proportion it is to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from pando_worker.engine.job import ResidentJob
from pando_worker.engine.packing import (
    Pending,
    Turns,
    by_share,
    reweighted,
    settle,
    side_by_side,
)


class TurnTaking:
    """Plans microbatches for jobs that are not finished, and notes in them what they were given.

    `free_tokens`: how large a microbatch may be that takes no longer than the smallest.
    """

    def __init__(self, lanes: int, free_tokens: int):
        self._lanes = lanes
        self._free_tokens = free_tokens
        self._shares: dict[str, float] = {}
        self._least_share = 1.0
        #: The free tokens of the least served of those that were ahead last.
        self._free_level = 0.0

    @property
    def shares(self) -> Mapping[str, float]:
        return self._shares

    def set_shares(
        self, shares: Mapping[str, float], active: Collection[ResidentJob], token_budget: int
    ) -> None:
        """From now on jobs get tokens in this proportion; what they are ahead of others stays."""
        wanted = {name: w for name, w in shares.items() if math.isfinite(w) and w > 0}
        if wanted == self._shares:
            return
        before = {job.job.id: self._weight(job) for job in active}
        self._shares, self._least_share = wanted, min(wanted.values(), default=1.0)
        after = {job.job.id: self._weight(job) for job in active}
        served = {job.job.id: job.served_tokens for job in active}
        longest = max((job.job.train.longest for job in active), default=0)
        served = reweighted(served, before, after, 2 * max(token_budget, longest))
        for job in active:
            job.served_tokens, job.free_tokens = served[job.job.id], self._free_level

    def _weight(self, resident: ResidentJob) -> float:
        return self._shares.get(resident.job.id, self._least_share)

    def take(self, active: Collection[ResidentJob], token_budget: int) -> Turns:
        """Which jobs' next sequences to train now, and how many: a microbatch for each lane."""
        queue = [
            Pending(
                job.job.id,
                tuple(len(tokens) for tokens, _ in job.current_batch().pending),
                job.served_tokens,
                self._weight(job),
                job.current_batch().tokens,
                max(job.free_tokens, self._free_level),
            )
            for job in active
        ]
        if not self._shares:
            return side_by_side(queue, token_budget, self._lanes)
        turns = by_share(queue, token_budget, self._lanes, self._free_tokens)
        level = min((job.free_tokens for job in queue if job.job_id in turns.ahead), default=None)
        self._free_level = self._free_level if level is None else level
        return turns

    def count(self, resident: ResidentJob, tokens: int, turns: Turns) -> None:
        """Note what a job got: within its share, or beside it at nobody's cost."""
        if not self._shares:
            resident.served_tokens += tokens
        elif resident.job.id in turns.ahead:
            start = max(resident.free_tokens, self._free_level)  # who comes late has no claim
            resident.free_tokens = start + tokens / self._weight(resident)
        else:
            resident.served_tokens += tokens / self._weight(resident)

    def settle(self, active: Collection[ResidentJob], token_budget: int) -> None:
        """Let claims lapse that nobody should have; with shares there are none."""
        if self._shares:
            return
        waiting = {job.job.id for job in active if job.batch is not None and job.batch.pending}
        served = {job.job.id: job.served_tokens for job in active}
        served = settle(served, waiting, token_budget)
        for job in active:
            job.served_tokens = served[job.job.id]
