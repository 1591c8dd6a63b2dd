"""/v1/keys: all API keys of the site, for keys of scope admin."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from pando_api.dependencies import ServicesDep, require_admin
from pando_api.schemas.keys import KeyCreate, KeyList, KeyObject, KeyWithSecret
from pando_shared.key_keeping import create_key, revoke_key

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(require_admin)])


@router.get("")
def list_keys(services: ServicesDep) -> KeyList:
    """Every tenant's, oldest first, the revoked ones too."""
    return KeyList(data=[KeyObject.of(key) for key in services.store.list_keys()])


@router.post("")
def create_api_key(body: KeyCreate, services: ServicesDep) -> KeyWithSecret:
    """The key itself is in this answer, and in no later one."""
    now = services.clock.now()
    lasts = body.expires_in_seconds
    secret, key = create_key(
        services.store,
        services.storage,
        body.tenant,
        body.name,
        now,
        scope=body.scope,
        expires_at=None if lasts is None else now + lasts,
    )
    return KeyWithSecret.made(secret, key)


@router.delete("/{key_id}")
def revoke_api_key(key_id: str, services: ServicesDep) -> KeyObject:
    """Useless at once. It stays in the list."""
    now = services.clock.now()
    return KeyObject.of(revoke_key(services.store, services.storage, key_id, now))
