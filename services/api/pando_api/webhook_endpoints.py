"""What can be done with webhook endpoints. Storage keeps each too, for `pando recover`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pando_api.schemas.webhooks import WebhookCreate, WebhookUpdate
from pando_api.services import Services
from pando_api.webhook_post import NotDelivered, WebhookPost
from pando_api.webhook_target import check_url
from pando_shared import layout
from pando_shared.codec import encode
from pando_shared.errors import InvalidRequest
from pando_shared.ids import new_id
from pando_shared.webhooks import MAX_ENDPOINTS, Delivery, WebhookEndpoint, new_secret


def create_endpoint(services: Services, tenant: str, body: WebhookCreate) -> WebhookEndpoint:
    """Raises InvalidRequest: a URL that nobody may be sent to, or one endpoint too many."""
    url = check_url(body.url, services.settings.webhook_allow)
    if len(services.store.list_endpoints(tenant)) >= MAX_ENDPOINTS:
        raise InvalidRequest(f"there are {MAX_ENDPOINTS} webhook endpoints; delete one first")
    now = services.clock.now()
    endpoint = WebhookEndpoint(
        id=new_id("whep", "_"),
        tenant=tenant,
        name=body.name,
        url=url,
        event_types=tuple(dict.fromkeys(body.event_types)),
        created_at=now,
        updated_at=now,
        secret=new_secret(),
    )
    _record(services, endpoint)
    services.store.put_endpoint(endpoint)
    return endpoint


def update_endpoint(
    services: Services, tenant: str, endpoint_id: str, body: WebhookUpdate
) -> WebhookEndpoint:
    """Raises NotFound, and InvalidRequest for a URL that nobody may be sent to."""
    wanted = body.given()
    if "url" in wanted:
        check_url(wanted["url"], services.settings.webhook_allow)
    if "event_types" in wanted:
        wanted["event_types"] = tuple(dict.fromkeys(wanted["event_types"]))

    def change(known: WebhookEndpoint) -> WebhookEndpoint:
        changed = replace(known, **wanted, failing_since=None, last_error=None, disabled_at=None)
        return known if changed == known else replace(changed, updated_at=services.clock.now())

    return _change(services, tenant, endpoint_id, change)


def rotate_secret(
    services: Services, tenant: str, endpoint_id: str, *, keep_old: bool
) -> WebhookEndpoint:
    """Raises NotFound."""
    secret, now = new_secret(), services.clock.now()
    return _change(
        services, tenant, endpoint_id, lambda known: known.rotated(secret, now, keep_old=keep_old)
    )


def delete_endpoint(services: Services, tenant: str, endpoint_id: str) -> None:
    """Raises NotFound."""
    services.store.get_endpoint(tenant, endpoint_id)
    # The durable record goes first, so that `pando recover` cannot bring it back.
    services.storage.delete(layout.webhook_endpoint(endpoint_id))
    services.store.delete_endpoint(tenant, endpoint_id)


async def send_sample(services: Services, endpoint: WebhookEndpoint, event_type: str) -> int:
    """Send an event of a job that there is not; returns the answer's status.

    Raises:
        InvalidRequest: there was no answer.
    """
    now = services.clock.now()
    sample = Delivery(
        new_id("evt", "_"), endpoint.tenant, endpoint.id, event_type, "ftjob-sample", now
    )
    try:
        return await WebhookPost(services.settings.webhook_allow).send(endpoint, sample, now)
    except NotDelivered as error:
        raise InvalidRequest(f"the test event was not delivered: {error}") from error


def _change(
    services: Services,
    tenant: str,
    endpoint_id: str,
    change: Callable[[WebhookEndpoint], WebhookEndpoint],
) -> WebhookEndpoint:
    endpoint = services.store.update_endpoint(tenant, endpoint_id, change)
    _record(services, endpoint)
    return endpoint


def _record(services: Services, endpoint: WebhookEndpoint) -> None:
    services.storage.write(layout.webhook_endpoint(endpoint.id), encode(endpoint))
