"""API keys on the wire, for an admin."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from pando_api.schemas.paging import Listed
from pando_api.schemas.strict import StrictModel
from pando_shared.records import ApiKey, KeyScope


class KeyCreate(StrictModel):
    """`expires_in_seconds` counts from now; left out, the key does not expire."""

    tenant: str
    name: Annotated[str, Field(max_length=100)] = ""
    scope: KeyScope = "user"
    expires_in_seconds: Annotated[int, Field(ge=1, le=100 * 366 * 86_400)] | None = None


class KeyObject(Listed):
    """`hint` is how the key begins."""

    object: Literal["api_key"] = "api_key"
    tenant: str
    name: str
    scope: KeyScope
    hint: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        return cls(**_fields(key))


class KeyWithSecret(KeyObject):
    """Shown once: when the key is made."""

    key: str

    @classmethod
    def made(cls, secret: str, key: ApiKey) -> Self:
        return cls(**_fields(key), key=secret)


class KeyList(BaseModel):
    object: Literal["list"] = "list"
    data: list[KeyObject]


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "scope": key.scope,
        "hint": key.hint,
        "created_at": int(key.created_at),
        "expires_at": None if key.expires_at is None else int(key.expires_at),
        "revoked_at": None if key.revoked_at is None else int(key.revoked_at),
    }
