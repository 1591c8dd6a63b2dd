"""Webhook endpoints on the wire, as OpenAI's clients of version 3 know them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field

from pando_api.schemas.paging import Listed
from pando_api.schemas.strict import StrictModel
from pando_shared.webhooks import EVENT_TYPES, WebhookEndpoint


def _event_type(name: str) -> str:
    if name not in EVENT_TYPES:
        raise ValueError(f"must be one of {', '.join(EVENT_TYPES)}")
    return name


EventType = Annotated[str, AfterValidator(_event_type)]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class WebhookCreate(StrictModel):
    name: Name
    url: str
    event_types: EventTypes


class WebhookUpdate(StrictModel):
    """What is left out stays. Any update also puts a disabled endpoint back to work."""

    name: Name | None = None
    url: str | None = None
    event_types: EventTypes | None = None


class RotateSecret(StrictModel):
    keep_old_secret_active_for_24_hours: bool = False


class WebhookTest(StrictModel):
    event_type: EventType


class WebhookObject(Listed):
    """`status` is ours: failing while deliveries fail, disabled once none is tried any more;
    `last_error` says what was wrong."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    status: Literal["active", "failing", "disabled"]
    last_error: str | None

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        return cls(**_fields(endpoint))


class WebhookWithSecret(WebhookObject):
    """Shown once: when the endpoint is made, or its secret rotated."""

    signing_secret: str

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        return cls(**_fields(endpoint), signing_secret=endpoint.secret)


class WebhookDeleted(BaseModel):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class WebhookTestResult(BaseModel):
    """`status_code` is the endpoint's answer, whatever it was."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypeList(BaseModel):
    object: Literal["list"] = "list"
    data: list[str]


def _fields(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "signing_secret_hint": f"whsec_…{endpoint.secret[-4:]}",
        "status": _status(endpoint),
        "last_error": endpoint.last_error,
    }


def _status(endpoint: WebhookEndpoint) -> Literal["active", "failing", "disabled"]:
    if endpoint.disabled_at is not None:
        return "disabled"
    return "active" if endpoint.failing_since is None else "failing"
