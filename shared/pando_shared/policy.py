"""The rules by which jobs share the workers: an operator's choice, one value.

Durations are seconds. `policy_file` reads it from TOML; left alone, every tenant weighs the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pando_shared.jobs import Priority


@dataclass(frozen=True, slots=True)
class ClassPolicy:
    """How one priority class is treated.

    A job of this class that has waited for `preempt_after_seconds` may take the place of jobs of
    lower classes (None: never). While a job of this class trains, whoever joins it may slow it
    down to at most 1/`max_slowdown` of its speed alone.
    """

    preempt_after_seconds: float | None
    max_slowdown: float


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """What a tenant may have. Quotas are in workers: 1.5 is one whole worker and half of another.

    `guaranteed` can be borrowed by others while it is not used, and is taken back from them.
    `limit` is never exceeded; None: whatever is free. `max_jobs` counts jobs that have not ended.
    `requests_per_minute` is how many HTTP requests it may make, `max_storage_bytes` how much it may
    keep of files, uploads and adapters; None: any number.
    """

    weight: float = 1.0
    guaranteed: float = 0.0
    limit: float | None = None
    max_jobs: int | None = None
    requests_per_minute: int | None = None
    max_storage_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it. `default_tenant` is for tenants that `tenants` does not name."""

    classes: Mapping[Priority, ClassPolicy] = field(
        default_factory=lambda: {
            Priority.HIGH: ClassPolicy(preempt_after_seconds=0.0, max_slowdown=1.25),
            Priority.NORMAL: ClassPolicy(preempt_after_seconds=300.0, max_slowdown=1.6),
            Priority.LOW: ClassPolicy(preempt_after_seconds=None, max_slowdown=1.6),
        }
    )
    tenants: Mapping[str, TenantPolicy] = field(default_factory=dict)
    default_tenant: TenantPolicy = TenantPolicy()
    #: After this long a use counts half.
    usage_half_life_seconds: float = 6 * 3600.0
    #: How much it weighs whose a job is, beside how long it is. A job of a tenant that has used x
    #: times its share counts as x^fairness times as long; 0: only its length counts.
    fairness: float = 0.85
    #: A job that has waited this long gets a worker reserved.
    starvation_seconds: float = 24 * 3600.0
    #: A reserved worker is emptied after this long at the latest.
    reservation_seconds: float = 600.0
    #: The share of the workers that may be reserved at once; always at least one.
    reserved_share: float = 0.25
    #: What a job has trained undisturbed, at least, before it is preempted by a class that waits,
    #: for a guarantee, or for a far shorter job; for the latter it doubles with each time.
    minimum_run_seconds: float = 120.0
    #: How often one job is preempted at most, by a class that waits or for a guarantee.
    max_preemptions: int = 3
    #: A job may take the place of others that have so many times more left to do (None: never).
    preempt_longer: float | None = 2.0
    #: What a further job must add to the worker's summed relative speed, unless it is short.
    minimum_gain: float = 0.25

    def tenant(self, name: str) -> TenantPolicy:
        return self.tenants.get(name, self.default_tenant)
