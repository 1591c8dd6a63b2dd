"""How many requests a minute a tenant may make: the policy's `requests_per_minute`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pando_api.errors import RateLimited
from pando_shared.clock import Clock
from pando_shared.policy_file import PolicyFile
from pando_shared.store import RequestBucketStore


@dataclass(frozen=True, slots=True)
class RequestRate:
    """Buckets lie in the store, so that a limit holds over all API processes together."""

    policies: PolicyFile
    store: RequestBucketStore
    clock: Clock

    def take(self, tenant: str) -> Mapping[str, str]:
        """Count a request; the headers that tell what is left, none where nothing is limited.

        Raises:
            RateLimited: the tenant has none left now; has the same headers, and `Retry-After`.
        """
        rate = self.policies.current().tenant(tenant).requests_per_minute
        if rate is None:
            return {}
        took = self.store.take_request(tenant, rate, self.clock.now())
        headers = {
            "x-ratelimit-limit-requests": str(rate),
            "x-ratelimit-remaining-requests": str(int(took.left)),
            "x-ratelimit-reset-requests": f"{math.ceil((rate - took.left) * 60 / rate)}s",
        }
        if not took.taken:
            seconds = max(1, math.ceil((1 - took.left) * 60 / rate))
            raise RateLimited(
                f"tenant {tenant} may make {rate} requests a minute; wait {seconds} s, "
                "or ask the operator for a higher requests_per_minute",
                headers | {"Retry-After": str(seconds)},
            )
        return headers
