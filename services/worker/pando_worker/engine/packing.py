"""Which sequences go into the next microbatch: a pure decision over lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
