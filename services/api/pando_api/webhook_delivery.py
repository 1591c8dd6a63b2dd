"""Bringing events to their webhooks: what is due is claimed, sent, and settled or put off.

Any number of API processes do this at once. One that dies with a claim leaves it to the others,
who send the event once more: it arrives at least once, always under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable

from fastapi.concurrency import run_in_threadpool

from pando_api.services import Services
from pando_api.webhook_post import TIMEOUT_SECONDS, NotDelivered, WebhookPost
from pando_shared.errors import NotFound, Unavailable
from pando_shared.log_context import log_context
from pando_shared.tracing import span
from pando_shared.webhooks import Delivery, WebhookEndpoint, pause_after

log = logging.getLogger(__name__)

#: The time between two looks for what is due.
LOOK_SECONDS = 1.0
#: Longer than an attempt can take: resolving, connecting, sending and waiting.
CLAIM_SECONDS = 6 * TIMEOUT_SECONDS
#: How many are under way in one process, in all and to one endpoint: a slow one holds up no other.
_AT_ONCE = 64
_AT_ONCE_TO_ONE = 2


async def deliver_for_ever(services: Services) -> None:
    """Until cancelled. Outlives an absence of the store."""
    sender = Sender(services, WebhookPost(services.settings.webhook_allow))
    while True:
        try:
            claimed = await sender.claim()
        except Unavailable as error:
            log.warning("webhooks wait for the store: %s", error)
            claimed = 0
        except Exception:
            log.exception("webhooks cannot be delivered now")
            claimed = 0
        if claimed < _AT_ONCE:
            await asyncio.sleep(LOOK_SECONDS)


class Sender:
    """Sends what is due. Claims no more than it can begin soon."""

    def __init__(self, services: Services, post: WebhookPost):
        self._services, self._post = services, post
        self._store, self._clock = services.store, services.clock
        self._under_way: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()

    async def claim(self) -> int:
        """Begin with what is due; returns how many those are."""
        room = _AT_ONCE - len(self._under_way)
        if room <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 0
        now = self._clock.now()
        claimed = await run_in_threadpool(self._store.claim_deliveries, now, CLAIM_SECONDS, room)
        for delivery in claimed:
            task = asyncio.create_task(self._deliver_in_turn(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(claimed)

    async def drain(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def _deliver_in_turn(self, delivery: Delivery) -> None:
        """Unless its endpoint is busy: then it gives its room to others, and comes back soon."""
        with log_context(tenant=delivery.tenant, job_id=delivery.job_id):
            try:
                if self._busy[delivery.endpoint_id] < _AT_ONCE_TO_ONE:
                    await self._deliver(delivery)
                else:
                    due_at = self._clock.now() + LOOK_SECONDS * (1 + random.random())
                    await run_in_threadpool(self._store.put_off_delivery, delivery, due_at)
            except Unavailable as error:
                # Its claim runs out, and it is tried again.
                log.warning("delivery %s waits for the store: %s", delivery.id, error)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            endpoint = await run_in_threadpool(
                self._store.get_endpoint, delivery.tenant, delivery.endpoint_id
            )
        except NotFound:
            endpoint = None
        if endpoint is None or endpoint.disabled_at is not None:
            await run_in_threadpool(self._store.drop_delivery, delivery.id)
            self._count("dropped")
            return
        self._busy[endpoint.id] += 1
        try:
            status = await self._send(endpoint, delivery)
            error = None if 200 <= status < 300 else f"it answered {status}"
        except NotDelivered as failure:
            status, error = 0, str(failure)
        finally:
            self._busy[endpoint.id] -= 1
            self._busy += Counter()  # forgets those at 0
        await run_in_threadpool(self._settle, endpoint, delivery.tried(), status, error)

    async def _send(self, endpoint: WebhookEndpoint, delivery: Delivery) -> int:
        """The status of the answer. Raises NotDelivered."""
        with span(
            "deliver webhook",
            kind="client",
            parent=delivery.traceparent,
            event_type=delivery.event_type,
            webhook_id=endpoint.id,
            attempt=delivery.attempts + 1,
        ) as delivering:
            status = await self._post.send(endpoint, delivery, self._clock.now())
            delivering.set(**{"http.response.status_code": status})
            if not 200 <= status < 300:
                delivering.fail(str(status))
        return status

    def _settle(
        self, endpoint: WebhookEndpoint, delivery: Delivery, status: int, error: str | None
    ) -> None:
        if error is None:
            self._store.drop_delivery(delivery.id)
            if endpoint.failing_since is not None:
                self._change(endpoint, lambda known: known.succeeded())
            self._count("delivered")
            return
        pause, gone = pause_after(delivery.attempts, random.random()), status == 410
        now = self._clock.now()
        log.info("webhook %s has not taken %s: %s", endpoint.id, delivery.id, error)
        if pause is None or gone:
            self._store.drop_delivery(delivery.id)
        else:
            self._store.put_off_delivery(delivery, now + pause)
        was_last = pause is None
        self._change(endpoint, lambda known: known.failed(error, now, gone=gone, was_last=was_last))
        self._count("given_up" if was_last or gone else "failed")

    def _change(
        self,
        endpoint: WebhookEndpoint,
        change: Callable[[WebhookEndpoint], WebhookEndpoint],
    ) -> None:
        try:
            self._store.update_endpoint(endpoint.tenant, endpoint.id, change)
        except NotFound:
            log.info("webhook %s was deleted meanwhile", endpoint.id)

    def _count(self, outcome: str) -> None:
        self._services.metrics.webhook_deliveries.labels(outcome).inc()
