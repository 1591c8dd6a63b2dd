"""Whom to tell that a job has ended, and what has not arrived there yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pando_shared.webhooks import Delivery, WebhookEndpoint


class WebhookStore(Protocol):
    """The part of `Store` that knows webhook endpoints and deliveries."""

    def put_endpoint(self, endpoint: WebhookEndpoint) -> None:
        """Keep a webhook endpoint. From now on what ends its tenant's jobs is delivered to it, in
        the same step in which a job ends."""
        ...

    def get_endpoint(self, tenant: str, endpoint_id: str) -> WebhookEndpoint:
        """Raises NotFound."""
        ...

    def list_endpoints(self, tenant: str) -> list[WebhookEndpoint]:
        """Newest first."""
        ...

    def update_endpoint(
        self, tenant: str, endpoint_id: str, change: Callable[[WebhookEndpoint], WebhookEndpoint]
    ) -> WebhookEndpoint:
        """Change it in one step; `change` may run several times. Raises NotFound."""
        ...

    def delete_endpoint(self, tenant: str, endpoint_id: str) -> None:
        """What is on its way to it is dropped when its turn comes. Raises NotFound."""
        ...

    def claim_deliveries(self, now: float, lease_seconds: float, limit: int) -> list[Delivery]:
        """Those that are due, longest due first; nobody else gets them within `lease_seconds`."""
        ...

    def put_off_delivery(self, delivery: Delivery, due_at: float) -> None:
        """Keep a delivery, as it is now, to be tried at `due_at`."""
        ...

    def drop_delivery(self, delivery_id: str) -> None:
        """It has arrived, or never will."""
        ...

    def count_deliveries(self) -> int:
        """How many have not arrived yet."""
        ...
