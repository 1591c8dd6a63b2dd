"""How many jobs a tenant may have at once: the policy's `max_jobs`."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext

from pando_api.errors import JobQuotaExceeded
from pando_shared.policy_file import PolicyFile
from pando_shared.store import Store


class JobQuota:
    """Counts and creates take turns, so that requests at once do not all find the last place.

    Turns are this process's own: API processes beside it may go over by a job each.
    """

    def __init__(self, policies: PolicyFile, store: Store):
        self._policies = policies
        self._store = store
        self._guard = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def turn(self, tenant: str) -> AbstractContextManager[object]:
        """Held from counting a tenant's jobs to keeping a further one; free where none counts."""
        if self._max_jobs(tenant) is None:
            return nullcontext()
        with self._guard:
            return self._turns[tenant]

    def require_room(self, tenant: str, wanted: int = 1) -> None:
        """Refuse a tenant that may not have so many jobs more.

        Raises:
            JobQuotaExceeded: it would have more jobs that have not ended than it may have.
        """
        most = self._max_jobs(tenant)
        if most is None:
            return
        count = self._store.count_live(tenant)
        if count + wanted > most:
            asked = "" if wanted == 1 else f", {wanted} more were asked for"
            raise JobQuotaExceeded(
                f"tenant {tenant} has {count} jobs that have not ended and may have {most}{asked}; "
                "wait until one ends or cancel one, or ask the operator for a higher max_jobs"
            )

    def _max_jobs(self, tenant: str) -> int | None:
        return self._policies.current().tenant(tenant).max_jobs
