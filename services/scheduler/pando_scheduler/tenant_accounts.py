"""What each tenant has of the workers now, may come to have, and has used."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pando_scheduler.fairness import Meter
from pando_shared.forecasts import Usage

#: What is less than this of a worker is nothing but rounding.
_ROUNDING = 1e-9

#: By tenant, shares of one worker.
Shares = Mapping[str, float]


class TenantAccounts:
    """Sums over workers, kept up to date worker by worker."""

    def __init__(self, half_life: float):
        self._half_life = half_life
        self.meters: dict[str, Meter] = {}
        #: What each tenant's jobs take now, in workers.
        self.in_use: dict[str, float] = {}
        #: What they may come to take if they get all that they can use, which limits go by.
        self.claims: dict[str, float] = {}
        self._shares: dict[str, Shares] = {}
        self._claims: dict[str, Shares] = {}
        self._places: dict[str, set[str]] = {}

    def recall(self, usages: Mapping[str, Usage], now: float) -> None:
        """Go on from what was known of tenants' use before."""
        for tenant, usage in usages.items():
            meter = self.meters.setdefault(tenant, Meter())
            meter.worker_seconds, meter.at = usage.worker_seconds, min(usage.at, now)

    def use_half_life(self, half_life: float, now: float) -> None:
        """Have use decay at another pace from `now` on."""
        for meter in self.meters.values():
            meter.turn(now, self._half_life, meter.rate)
        self._half_life = half_life

    def usages(self, now: float) -> list[Usage]:
        """Every tenant's use as of `now`, by tenant."""
        for meter in self.meters.values():
            meter.turn(now, self._half_life, meter.rate)
        return [meter.usage(tenant) for tenant, meter in sorted(self.meters.items())]

    def claim_on(self, tenant: str, worker_id: str) -> float:
        """What a tenant's jobs may come to take of a worker."""
        return self._claims.get(worker_id, {}).get(tenant, 0.0)

    def places(self, tenant: str) -> Collection[str]:
        """The workers on which a tenant has jobs."""
        return self._places.get(tenant, ())

    def charge(self, worker_id: str, shares: Shares, claims: Shares, now: float) -> None:
        """Turn tenants' meters to what they have on this worker from now on."""
        for tenant in _replace(self.claims, self._claims, worker_id, claims):
            places = self._places.setdefault(tenant, set())
            if tenant in claims:
                places.add(worker_id)
            else:
                places.discard(worker_id)
        changed = _replace(self.in_use, self._shares, worker_id, shares)
        for tenant in changed:
            meter = self.meters.setdefault(tenant, Meter(at=now))
            meter.turn(now, self._half_life, self.in_use.get(tenant, 0.0))


def _replace(
    totals: dict[str, float], parts: dict[str, Shares], worker_id: str, new: Shares
) -> set[str]:
    """Put a worker's part into the totals in place of its last; returns whose it was or is."""
    before = parts.pop(worker_id, {})
    if new:
        parts[worker_id] = new
    tenants = set(before) | set(new)
    for tenant in tenants:
        change = new.get(tenant, 0.0) - before.get(tenant, 0.0)
        total = totals.get(tenant, 0.0) + change
        if total > _ROUNDING:
            totals[tenant] = total
        else:
            totals.pop(tenant, None)
    return tenants
