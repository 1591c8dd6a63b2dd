"""Keys of requests that made something, in memory."""

from __future__ import annotations

from pando_shared.clock import Clock
from pando_shared.store.values import IDEMPOTENCY_SECONDS


class SeenKeys:
    """Which id was made with a tenant's key, for a day. Whoever uses it holds the store's lock."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._made: dict[tuple[str, str], tuple[str, float]] = {}

    def remember(self, tenant: str, key: str, made: str) -> None:
        self._made[tenant, key] = made, self._clock.now()

    def made_with(self, tenant: str, key: str) -> str | None:
        made, at = self._made.get((tenant, key), (None, 0.0))
        return made if self._clock.now() - at < IDEMPOTENCY_SECONDS else None
