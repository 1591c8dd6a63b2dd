"""Whether the jobs of a workload fit the workers at all: one that never does is never done."""

from __future__ import annotations

from collections.abc import Iterable

from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, WorkerKind, WorkerView, job_size
from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.world_options import WorldOptions
from pando_shared.adapters import AdapterConfig
from pando_shared.errors import InvalidRequest

_GIB = 1 << 30


def require_fitting(arrivals: Iterable[Arrival], budget_bytes: int, world: WorldOptions) -> None:
    """Check each base with each adapter at its worst: the greatest memory error, the longest data.

    Raises:
        InvalidRequest: alone on a worker of this budget, a job would not fit; names its base,
            adapter and bytes.
    """
    worst: dict[tuple[str, AdapterConfig], tuple[float, float]] = {}
    for job in arrivals:
        key = job.base_model, job.adapter
        error, length = worst.get(key, (1.0, 0.0))
        worst[key] = max(error, job.memory_error), max(length, job.mean_length)
    predict = LearntPredictor(world.catalogue, world.headroom)
    kind = WorkerKind("cuda", "sim", budget_bytes, world.token_budget)
    worker = WorkerView("any", kind)
    for (base, adapter), (error, length) in worst.items():
        size = job_size(adapter, length, round(length))
        job_view = JobView("any", "any", base, 0, 0.0, 0.0, size, 0.0, memory_ratio=error)
        footprint = predict.footprint(job_view, worker)
        if footprint is None:
            continue
        needed = predict.needs(worker, base, footprint).device_bytes
        if needed > budget_bytes:
            raise InvalidRequest(
                f"a {adapter.type} job on {base} needs {needed / _GIB:.1f} GiB with headroom, but "
                f"a worker has {budget_bytes / _GIB:.1f}; raise --worker-gib or leave {base} out "
                "of --bases",
                param="worker_gib",
            )
