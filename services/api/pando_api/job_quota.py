"""How many jobs a tenant may have at once: the policy's `max_jobs`."""

from __future__ import annotations

from dataclasses import dataclass

from pando_shared.errors import JobQuotaExceeded
from pando_shared.policy_file import PolicyFile
from pando_shared.store import JobStore


@dataclass(frozen=True, slots=True)
class JobQuota:
    """Refuses early what the store, which has the last word, would refuse too."""

    policies: PolicyFile
    store: JobStore

    def require_room(self, tenant: str, wanted: int = 1) -> int | None:
        """Refuse a tenant that may not have so many jobs more, before anything of them is kept.

        Returns how many it may have, for the store to hold in the step that creates them: others
        may count at the same time. None: any number.

        Raises:
            JobQuotaExceeded: it would have more jobs that have not ended than it may have.
        """
        most = self.policies.current().tenant(tenant).max_jobs
        if most is not None:
            live = sum(self.store.count_live(tenant).values())
            if live + wanted > most:
                raise JobQuotaExceeded(tenant, live, most, wanted)
        return most
