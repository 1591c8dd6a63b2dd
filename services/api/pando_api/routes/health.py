"""/healthz: the process runs. /readyz: so does what it needs."""

from __future__ import annotations

from fastapi import APIRouter

from pando_api.answers import NOT_READY
from pando_api.dependencies import ServicesDep
from pando_shared.errors import Unavailable

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", responses=NOT_READY)
def readyz(services: ServicesDep) -> dict[str, str]:
    """503 while the store or the storage does not answer."""
    if not services.store.ping():
        raise Unavailable("the store does not answer; is Redis up at PANDO_REDIS_URL?")
    try:
        services.storage.names("files")
    except OSError as error:
        raise Unavailable(f"the storage does not answer: {error}") from error
    return {"status": "ready"}
