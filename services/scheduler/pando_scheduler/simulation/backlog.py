"""How long each tenant had a job that waited or trained."""

from __future__ import annotations

from pando_scheduler.simulation.run import TenantAccount


class Backlog:
    """Counts tenants' jobs, and the time with at least one, into their accounts."""

    def __init__(self, accounts: dict[str, TenantAccount]) -> None:
        self._accounts = accounts
        self._jobs: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def enter(self, tenant: str, now: float) -> None:
        self._accounts.setdefault(tenant, TenantAccount())
        if not self._jobs.get(tenant):
            self._since[tenant] = now
        self._jobs[tenant] = self._jobs.get(tenant, 0) + 1

    def leave(self, tenant: str, now: float) -> None:
        self._jobs[tenant] -= 1
        if not self._jobs[tenant]:
            self._accounts[tenant].backlogged += now - self._since.pop(tenant)

    def close(self, now: float) -> None:
        for tenant, since in self._since.items():
            self._accounts[tenant].backlogged += now - since
