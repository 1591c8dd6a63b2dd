"""/metrics for Prometheus, and where it finds those of the workers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from pando_api.answers import body_of
from pando_api.dependencies import ServicesDep
from pando_shared.fleet import is_alive

router = APIRouter(tags=["health"])


class TargetGroup(BaseModel):
    """Prometheus's own form: https://prometheus.io/docs/prometheus/latest/http_sd/"""

    targets: list[str]
    labels: dict[str, str]


@router.get("/metrics/workers")
def worker_targets(services: ServicesDep) -> list[TargetGroup]:
    """Where Prometheus finds the workers that are alive, as its HTTP service discovery asks."""
    now = services.clock.now()
    return [
        TargetGroup(targets=[worker.metrics_address], labels={"worker": worker.id})
        for worker in services.store.list_workers()
        if worker.metrics_address is not None and is_alive(worker, services.settings, now)
    ]


@router.get("/metrics", response_class=Response, responses=body_of("text/plain"))
def metrics(services: ServicesDep) -> Response:
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)
