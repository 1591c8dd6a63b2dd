"""Which sequences go into the next microbatch: a pure decision over lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pending:
    """One job's sequences that its current optimizer step still needs.

    `served_tokens` is what the job has trained so far, in tokens: the least served goes first.
    """

    job_id: str
    lengths: tuple[int, ...]
    served_tokens: int


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


def settle(served: Mapping[str, int], waiting: Set[str], token_budget: int) -> dict[str, int]:
    """Served tokens after a microbatch that left the jobs in `waiting` with work undone.

    A job that got all it asked for has hardly a claim on what it left to others: its arrears shrink
    to two microbatches, which is what the end of a step can cost a job that is always busy. Else a
    small job, whose steps ask for little, would gather a credit with which it, and whoever joins
    level with it, could later shut the others out.
    """
    if not served:
        return {}
    level = min((served[job_id] for job_id in waiting), default=max(served.values()))
    floor = level - 2 * token_budget
    return {
        job_id: tokens if job_id in waiting else max(tokens, floor)
        for job_id, tokens in served.items()
    }
