"""/v1/workers: who is there to train."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter

from pando_api.dependencies import ServicesDep, TenantDep
from pando_api.schemas.cluster import PredictionObject, WorkerList, WorkerObject
from pando_api.services import Services
from pando_shared.calibration import read_calibration
from pando_shared.fleet import is_alive
from pando_shared.speed import read_speed
from pando_shared.workers import Worker

router = APIRouter(prefix="/v1/workers", tags=["cluster"])


@router.get("")
def list_workers(services: ServicesDep, tenant: TenantDep) -> WorkerList:
    """Every worker that ever reported and was not removed; the dead ones say so."""
    residents: dict[str, set[str]] = {}
    for planned in services.store.rounds():
        jobs = residents.setdefault(planned.worker_id, set())
        jobs.update(assignment.job_id for assignment in planned.assignments)
    draining, learnt = services.store.draining(), services.store.learnt()
    workers = services.store.list_workers()
    kinds = {(worker.base_model, worker.device_kind) for worker in workers}
    predictions = {
        kind: _prediction(*kind, learnt, services.settings.memory_headroom) for kind in kinds
    }
    return WorkerList(
        data=[
            _view(
                services,
                worker,
                len(residents.get(worker.id, ())),
                worker.id in draining,
                predictions[worker.base_model, worker.device_kind],
            )
            for worker in workers
        ]
    )


def _view(
    services: Services,
    worker: Worker,
    jobs: int,
    draining: bool,
    prediction: PredictionObject | None,
) -> WorkerObject:
    return WorkerObject(
        id=worker.id,
        alive=is_alive(worker, services.settings, services.clock.now()),
        device=worker.device,
        device_kind=worker.device_kind,
        draining=draining,
        base_model=worker.base_model,
        models=list(worker.models),
        jobs=jobs,
        budget_bytes=worker.budget_bytes,
        host_budget_bytes=worker.host_budget_bytes,
        rows_on_disk=worker.rows_on_disk,
        resident_bytes=worker.resident_bytes,
        peak_bytes=worker.peak_bytes,
        token_budget=worker.token_budget,
        tokens_per_second=worker.tokens_per_second,
        round_gap_seconds=worker.round_gap_seconds,
        last_heartbeat_at=worker.heartbeat_at,
        prediction=prediction,
    )


def _prediction(
    base_model: str | None, device_kind: str, learnt: Mapping[str, str], headroom: float
) -> PredictionObject | None:
    if base_model is None:
        return None
    memory = read_calibration(learnt, base_model, device_kind)
    speed = read_speed(learnt, base_model, device_kind)
    if not memory.errors.rounds:
        return None
    return PredictionObject(
        rounds=memory.errors.rounds,
        memory_error_p50=memory.errors.p50,
        memory_error_p99=memory.errors.p99,
        headroom=memory.headroom(headroom),
        speed_error_p50=speed.errors.p50,
    )
