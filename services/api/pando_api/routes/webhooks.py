"""/v1/webhook_endpoints: who is told when a job ends."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from pando_api import webhook_endpoints
from pando_api.dependencies import ServicesDep, TenantDep
from pando_api.paging import page_of
from pando_api.schemas.paging import After, Page
from pando_api.schemas.webhooks import (
    EventTypeList,
    RotateSecret,
    WebhookCreate,
    WebhookDeleted,
    WebhookObject,
    WebhookTest,
    WebhookTestResult,
    WebhookUpdate,
    WebhookWithSecret,
)
from pando_shared.webhooks import EVENT_TYPES

router = APIRouter(prefix="/v1", tags=["webhooks"])


@router.get("/webhook_event_types")
def list_event_types(tenant: TenantDep) -> EventTypeList:
    return EventTypeList(data=list(EVENT_TYPES))


@router.post("/webhook_endpoints")
def create_webhook(
    body: WebhookCreate, services: ServicesDep, tenant: TenantDep
) -> WebhookWithSecret:
    """The signing secret is in this answer, and in no later one."""
    return WebhookWithSecret.of(webhook_endpoints.create_endpoint(services, tenant, body))


@router.get("/webhook_endpoints")
def list_webhooks(
    services: ServicesDep,
    tenant: TenantDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[WebhookObject]:
    """Newest first."""
    found = services.store.list_endpoints(tenant)
    return page_of([WebhookObject.of(each) for each in found], after=after, limit=limit)


@router.get("/webhook_endpoints/{webhook_id}")
def retrieve_webhook(webhook_id: str, services: ServicesDep, tenant: TenantDep) -> WebhookObject:
    return WebhookObject.of(services.store.get_endpoint(tenant, webhook_id))


@router.post("/webhook_endpoints/{webhook_id}")
def update_webhook(
    webhook_id: str, body: WebhookUpdate, services: ServicesDep, tenant: TenantDep
) -> WebhookObject:
    """What the body leaves out stays. One that was disabled is written to again."""
    changed = webhook_endpoints.update_endpoint(services, tenant, webhook_id, body)
    return WebhookObject.of(changed)


@router.delete("/webhook_endpoints/{webhook_id}")
def delete_webhook(webhook_id: str, services: ServicesDep, tenant: TenantDep) -> WebhookDeleted:
    """What is on its way to it is sent no more."""
    webhook_endpoints.delete_endpoint(services, tenant, webhook_id)
    return WebhookDeleted(id=webhook_id)


@router.post("/webhook_endpoints/{webhook_id}/rotate_secret")
def rotate_secret(
    webhook_id: str,
    services: ServicesDep,
    tenant: TenantDep,
    body: RotateSecret | None = None,
) -> WebhookWithSecret:
    """A new secret. For a day the old one signs beside it, if that is asked for."""
    keep_old = body is not None and body.keep_old_secret_active_for_24_hours
    rotated = webhook_endpoints.rotate_secret(services, tenant, webhook_id, keep_old=keep_old)
    return WebhookWithSecret.of(rotated)


@router.post("/webhook_endpoints/{webhook_id}/test")
async def test_webhook(
    webhook_id: str, body: WebhookTest, services: ServicesDep, tenant: TenantDep
) -> WebhookTestResult:
    """Send a sample event now, and tell what was answered."""
    endpoint = await run_in_threadpool(services.store.get_endpoint, tenant, webhook_id)
    status = await webhook_endpoints.send_sample(services, endpoint, body.event_type)
    return WebhookTestResult(
        webhook_endpoint_id=webhook_id, event_type=body.event_type, status_code=status
    )
