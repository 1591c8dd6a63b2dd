"""How many more jobs a tenant that has a limit may have at once."""

from __future__ import annotations

import math

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView, WorkerView

#: No job is taken to use less of a worker.
_LEAST_SHARE = 0.01


class TenantRoom:
    """Counts jobs down and up, each as large as the tenant's jobs are in the mean."""

    def __init__(self, draft: Draft):
        self._draft = draft
        self._left: dict[str, int] = {}

    def limited(self, job: JobView) -> str | None:
        """The job's tenant, if it has a limit."""
        limit = self._draft.policy.tenant(job.tenant).limit
        return None if limit is None else job.tenant

    def allows(self, job: JobView, worker: WorkerView) -> bool:
        """Whether the job's tenant may have one more, on such a worker."""
        limit = self._draft.policy.tenant(job.tenant).limit
        if limit is None:
            return True
        if job.tenant not in self._left:
            self._left[job.tenant] = self._count(job, worker, limit)
        return limit > 0 and self._left[job.tenant] > 0

    def take(self, tenant: str) -> None:
        if tenant in self._left:
            self._left[tenant] -= 1

    def give_back(self, tenant: str) -> bool:
        """One of the tenant's jobs has ended; tells whether that is what others waited for."""
        if tenant not in self._left:
            return False
        self._left[tenant] += 1
        return self._left[tenant] == 1

    def _count(self, job: JobView, worker: WorkerView, limit: float) -> int:
        """Below 0: more than one job must end before another may start."""
        cluster = self._draft.cluster
        held = sum(other.tenant == job.tenant for other in cluster.placed())
        use = cluster.accounts.claims.get(job.tenant, 0.0)
        share = use / held if held else cluster.claim_of([job], worker)
        return math.floor((limit - use) / max(_LEAST_SHARE, share) + 1e-9)
