"""What a tenant uses and may use, put together from the counts that the store keeps."""

from __future__ import annotations

from collections.abc import Mapping

from pando_api.schemas.tenant_usage import (
    JobUsage,
    RequestUsage,
    StorageUsage,
    TenantUsage,
    WorkerUsage,
)
from pando_api.services import Services
from pando_shared.forecasts import Usage
from pando_shared.policy import Policy


def usage_of(services: Services, tenant: str) -> TenantUsage:
    return _usage(services, tenant, services.policies.current(), services.store.usage())


def usage_of_all(services: Services) -> list[TenantUsage]:
    """Of every tenant that has, or had, a key; sorted by name."""
    policy, worked = services.policies.current(), services.store.usage()
    tenants = {key.tenant for key in services.store.list_keys()}
    return [_usage(services, tenant, policy, worked) for tenant in sorted(tenants)]


def _usage(
    services: Services, tenant: str, policy: Policy, worked: Mapping[str, Usage]
) -> TenantUsage:
    store, now, may = services.store, services.clock.now(), policy.tenant(tenant)
    stored = store.stored_bytes(tenant, now)
    jobs = {state.value: count for state, count in store.count_live(tenant).items()}
    rate, left = may.requests_per_minute, None
    if rate is not None:
        left = int(store.requests_left(tenant, rate, now))
    return TenantUsage(
        tenant=tenant,
        storage=StorageUsage(
            used=stored.total,
            files=stored.files,
            uploads=stored.uploads,
            adapters=stored.adapters,
            limit=may.max_storage_bytes,
        ),
        jobs=JobUsage(**jobs, limit=may.max_jobs),
        requests=RequestUsage(limit_per_minute=rate, remaining=left),
        workers=WorkerUsage(
            recent_seconds=_faded(worked.get(tenant), now, policy.usage_half_life_seconds),
            guaranteed=may.guaranteed,
            limit=may.limit,
        ),
    )


def _faded(usage: Usage | None, now: float, half_life: float) -> float | None:
    """The scheduler's own figure, faded since it was told."""
    if usage is None:
        return None
    return float(usage.worker_seconds * 0.5 ** (max(0.0, now - usage.at) / half_life))
