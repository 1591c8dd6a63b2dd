"""Taking places from others: who is entitled to it, by guarantee, class or a far shorter job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

from pando_scheduler import preemption
from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView
from pando_scheduler.preemption import Eviction
from pando_shared.jobs import YieldCause

#: Once so many jobs that are entitled alike have found nobody to take a place from, those behind
#: them do not try in this plan.
_TRIES = 3


class Takers:
    """Jobs that find no seat, in the queue's order: those in front have the better claims."""

    def __init__(self, draft: Draft):
        self._draft = draft
        self._vain: Counter[Hashable] = Counter()

    def take(self, job: JobView) -> bool:
        """Have a job take a place from others if it may; tells whether it did."""
        draft, policy = self._draft, self._draft.policy
        lent = policy.tenant(job.tenant).guaranteed
        if lent > 0.0 and self._take(
            job,
            preemption.for_guarantee,
            YieldCause.RECLAIM,
            "its tenant has borrowed what another is guaranteed",
            job.tenant,
        ):
            return True
        if preemption.may_preempt(draft, job) and self._take(
            job, preemption.for_priority, YieldCause.PRIORITY, "a job of a higher class waits"
        ):
            return True
        return policy.preempt_longer is not None and self._take(
            job, preemption.for_shorter, YieldCause.SHORTER, "a far shorter job waits"
        )

    def _take(
        self,
        job: JobView,
        find: Callable[[Draft, JobView], Eviction | None],
        cause: YieldCause,
        reason: str,
        whose: str | None = None,
    ) -> bool:
        key = (cause, job.base_model, job.rank, whose)
        if self._vain[key] >= _TRIES:
            return False
        eviction = find(self._draft, job)
        if eviction is None:
            self._vain[key] += 1
            return False
        preemption.evict(self._draft, job, eviction, cause, reason)
        return True
