"""Which sequences go into the next microbatches: a pure decision over lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pending:
    """One job's sequences that its current optimizer step still needs.

    `served_tokens` is what the job has trained so far, in tokens over its weight: the least served
    goes first. `free_tokens` is the same of what it got beside that at nobody's cost, `step_tokens`
    what a whole step of it takes; both count only where there are shares.
    """

    job_id: str
    lengths: tuple[int, ...]
    served_tokens: float
    weight: float = 1.0
    step_tokens: int = 0
    free_tokens: float = 0.0

    def slack(self, token_budget: int) -> float:
        """How far the job may be ahead: one turn, a step or as much of it as a microbatch holds."""
        turn = min(max(self.step_tokens, sum(self.lengths)), token_budget)
        return max(turn, self.lengths[0]) / self.weight


@dataclass(frozen=True, slots=True)
class Turns:
    """What is trained next: for each microbatch how many sequences of which jobs.

    Jobs in `ahead` have had more than their share; what they get is free.
    """

    batches: list[Mapping[str, int]]
    ahead: Set[str] = frozenset()


def pack(queue: Sequence[Pending], token_budget: int) -> Mapping[str, int]:
    """How many pending sequences of each job the next microbatch holds, in the order of packing.

    Fair queueing by tokens: the least-served job gives all it can of its current step, then the
    next. Taking a job's sequences together keeps segments few, and it can never starve: after its
    turn it is no longer the least served. A sequence longer than the budget travels alone.
    """
    taken: dict[str, int] = {}
    room = token_budget
    for job in sorted(queue, key=lambda job: (job.served_tokens, job.job_id)):
        count = 0
        for length in job.lengths:
            if length > room and (taken or count):
                break
            room -= length
            count += 1
        if count:
            taken[job.job_id] = count
        if room <= 0:
            break
    return taken


def side_by_side(queue: Sequence[Pending], token_budget: int, lanes: int) -> Turns:
    """A microbatch for each lane that there are jobs for; together they keep within the budget."""
    lanes = max(1, min(lanes, len(queue)))
    batches = []
    for _ in range(lanes):
        taken = pack(queue, token_budget // lanes)
        if taken:
            batches.append(taken)
        queue = [job for job in queue if job.job_id not in taken]
    return Turns(batches)


def by_share(queue: Sequence[Pending], token_budget: int, lanes: int, free_tokens: int) -> Turns:
    """The same for jobs that are to get tokens in proportion to their weights.

    Weighted fair queueing (Demers, Keshav & Shenker 1989): a job that is ahead of the least served
    by more than its own turn sits out, whatever room there is, until that one has caught up. So no
    lead, and no credit, is ever more than two turns. What a device can train in no more time,
    `free_tokens` in all, is no reason to sit out: there a job that cannot use its share, because
    its next step must wait for this one, holds nobody back.
    """
    if not queue:
        return Turns([])
    least = min(job.served_tokens for job in queue)
    width = token_budget // max(1, min(lanes, len(queue)))
    due = [job for job in queue if job.served_tokens <= least + job.slack(width)]
    names = {job.job_id for job in due}
    ahead = [job for job in queue if job.job_id not in names]
    batches = side_by_side(due, token_budget, lanes).batches
    if batches and ahead and free_tokens > 0:
        lengths = {job.job_id: job.lengths for job in due}
        held = [sum(sum(lengths[name][:n]) for name, n in batch.items()) for batch in batches]
        room = token_budget // len(batches) - held[0]
        batches[0] = {**batches[0], **_free(ahead, free_tokens - sum(held), room)}
    return Turns(batches, {job.job_id for job in ahead})


def _free(queue: Sequence[Pending], free_tokens: int, room: int) -> dict[str, int]:
    """What jobs may add to a microbatch that has `room` while some of `free_tokens` are left."""
    taken: dict[str, int] = {}
    for job in sorted(queue, key=lambda job: (job.free_tokens, job.job_id)):
        count = 0
        for length in job.lengths:
            if free_tokens <= 0 or length > room:
                break
            room -= length
            free_tokens -= length
            count += 1
        if count:
            taken[job.job_id] = count
    return taken


def settle(served: Mapping[str, float], waiting: Set[str], token_budget: int) -> dict[str, float]:
    """Served tokens after a microbatch that left the jobs in `waiting` with work undone.

    A job that got all it asked for has hardly a claim on what it left to others: its arrears shrink
    to two microbatches, which is what the end of a step can cost a job that is always busy. Else a
    small job, whose steps ask for little, would gather a credit with which it, and whoever joins
    level with it, could later shut the others out. Where there are shares nobody gathers one.
    """
    if not served:
        return {}
    level = min((served[job_id] for job_id in waiting), default=max(served.values()))
    floor = level - 2 * token_budget
    return {
        job_id: tokens if job_id in waiting else max(tokens, floor)
        for job_id, tokens in served.items()
    }


def reweighted(
    served: Mapping[str, float],
    before: Mapping[str, float],
    after: Mapping[str, float],
    most_tokens: int,
) -> dict[str, float]:
    """Served tokens of the same jobs once they have other weights.

    What each is ahead of the least served stays as it is, in tokens, up to `most_tokens`: without
    shares some get further ahead, and are not to wait for that.
    """
    level = min(served.values(), default=0.0)
    return {
        job_id: level + min((tokens - level) * before[job_id], most_tokens) / after[job_id]
        for job_id, tokens in served.items()
    }
