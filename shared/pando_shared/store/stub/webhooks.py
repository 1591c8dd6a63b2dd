"""Webhook endpoints in memory, and what is on its way to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from pando_shared.errors import NotFound
from pando_shared.store.order import newest_first
from pando_shared.webhooks import Delivery, WebhookEndpoint


class StubWebhooks:
    """The part of `StubStore` that knows webhooks."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock
        self._endpoints: dict[tuple[str, str], WebhookEndpoint] = {}
        self._deliveries: dict[str, tuple[float, Delivery]] = {}

    def put_endpoint(self, endpoint: WebhookEndpoint) -> None:
        with self._lock:
            self._endpoints[endpoint.tenant, endpoint.id] = endpoint

    def get_endpoint(self, tenant: str, endpoint_id: str) -> WebhookEndpoint:
        with self._lock:
            if (tenant, endpoint_id) not in self._endpoints:
                raise NotFound(f"no such webhook endpoint: {endpoint_id}")
            return self._endpoints[tenant, endpoint_id]

    def list_endpoints(self, tenant: str) -> list[WebhookEndpoint]:
        with self._lock:
            return newest_first(each for each in self._endpoints.values() if each.tenant == tenant)

    def update_endpoint(
        self, tenant: str, endpoint_id: str, change: Callable[[WebhookEndpoint], WebhookEndpoint]
    ) -> WebhookEndpoint:
        with self._lock:
            changed = change(self.get_endpoint(tenant, endpoint_id))
            self.put_endpoint(changed)
            return changed

    def delete_endpoint(self, tenant: str, endpoint_id: str) -> None:
        with self._lock:
            self.get_endpoint(tenant, endpoint_id)
            del self._endpoints[tenant, endpoint_id]

    def claim_deliveries(self, now: float, lease_seconds: float, limit: int) -> list[Delivery]:
        with self._lock:
            due = sorted((at, each.id) for at, each in self._deliveries.values() if at <= now)[
                :limit
            ]
            found = [self._deliveries[delivery_id][1] for _, delivery_id in due]
            for delivery in found:
                self._deliveries[delivery.id] = now + lease_seconds, delivery
            return found

    def put_off_delivery(self, delivery: Delivery, due_at: float) -> None:
        self._deliver([delivery], due_at)

    def drop_delivery(self, delivery_id: str) -> None:
        with self._lock:
            self._deliveries.pop(delivery_id, None)

    def count_deliveries(self) -> int:
        with self._lock:
            return len(self._deliveries)

    def _deliver(self, deliveries: Iterable[Delivery], due_at: float) -> None:
        with self._lock:
            for delivery in deliveries:
                self._deliveries[delivery.id] = due_at, delivery
