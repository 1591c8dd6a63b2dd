"""Webhook endpoints in Redis, and what is on its way to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound
from pando_shared.store.order import newest_first
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import script, transact
from pando_shared.webhooks import Delivery, WebhookEndpoint


class RedisWebhooks:
    """The part of `RedisStore` that knows webhooks."""

    def __init__(self, redis: Redis):
        self._redis = redis
        self._claim = redis.register_script(script("claim_deliveries"))

    def put_endpoint(self, endpoint: WebhookEndpoint) -> None:
        self._redis.hset(keys.webhooks(endpoint.tenant), endpoint.id, encode(endpoint))

    def get_endpoint(self, tenant: str, endpoint_id: str) -> WebhookEndpoint:
        return _found(endpoint_id, self._redis.hget(keys.webhooks(tenant), endpoint_id))

    def list_endpoints(self, tenant: str) -> list[WebhookEndpoint]:
        texts: Any = self._redis.hvals(keys.webhooks(tenant))
        return newest_first(decode(WebhookEndpoint, text) for text in texts)

    def update_endpoint(
        self, tenant: str, endpoint_id: str, change: Callable[[WebhookEndpoint], WebhookEndpoint]
    ) -> WebhookEndpoint:
        key = keys.webhooks(tenant)

        def body(pipe: Pipeline) -> WebhookEndpoint:
            before = _found(endpoint_id, pipe.hget(key, endpoint_id))
            changed = change(before)
            if changed == before:
                return before
            pipe.multi()
            pipe.hset(key, endpoint_id, encode(changed))
            return changed

        return transact(self._redis, [key], body)

    def delete_endpoint(self, tenant: str, endpoint_id: str) -> None:
        if not self._redis.hdel(keys.webhooks(tenant), endpoint_id):
            raise NotFound(f"no such webhook endpoint: {endpoint_id}")

    def claim_deliveries(self, now: float, lease_seconds: float, limit: int) -> list[Delivery]:
        texts: Any = self._claim(
            keys=[keys.DELIVERIES_DUE, keys.DELIVERIES],
            args=[repr(now), repr(now + lease_seconds), limit],
        )
        return [decode(Delivery, text) for text in texts]

    def put_off_delivery(self, delivery: Delivery, due_at: float) -> None:
        with self._redis.pipeline() as pipe:
            write_deliveries(pipe, [delivery], due_at)
            pipe.execute()

    def drop_delivery(self, delivery_id: str) -> None:
        with self._redis.pipeline() as pipe:
            pipe.zrem(keys.DELIVERIES_DUE, delivery_id)
            pipe.hdel(keys.DELIVERIES, delivery_id)
            pipe.execute()

    def count_deliveries(self) -> int:
        count: Any = self._redis.zcard(keys.DELIVERIES_DUE)
        return int(count)


def write_deliveries(pipe: Pipeline, deliveries: Sequence[Delivery], due_at: float) -> None:
    """Have them sent at `due_at` or soon after."""
    for delivery in deliveries:
        pipe.hset(keys.DELIVERIES, delivery.id, encode(delivery))
        pipe.zadd(keys.DELIVERIES_DUE, {delivery.id: due_at})


def _found(endpoint_id: str, text: Any) -> WebhookEndpoint:
    if text is None:
        raise NotFound(f"no such webhook endpoint: {endpoint_id}")
    return decode(WebhookEndpoint, text)
