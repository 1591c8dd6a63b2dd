"""Whether any worker could ever hold a job."""

from __future__ import annotations

from collections.abc import Sequence

from pando_api.fleet import offering
from pando_shared.adapters import AdapterConfig
from pando_shared.catalogue import BaseModel
from pando_shared.errors import JobTooLarge
from pando_shared.memory import predict_peak_bytes
from pando_shared.settings import GIB, Settings
from pando_shared.workers import Worker


def predicted_bytes(
    base: BaseModel, adapter: AdapterConfig, worker: Worker, settings: Settings
) -> int:
    """Peak of `worker` training this job alone, the base included."""
    resident = worker.resident_bytes if worker.base_model == base.name else 0
    element = weight_bytes_of(worker.device, settings)
    return predict_peak_bytes(base, [adapter], worker.token_budget, element, resident)


def weight_bytes_of(device: str, settings: Settings) -> int:
    """Bytes of one frozen weight on `device`: bfloat16 on a GPU unless the settings say another."""
    if settings.dtype is not None:
        return 4 if settings.dtype == "float32" else 2
    return 4 if device.startswith("cpu") else 2


def require_fit(
    base: BaseModel, adapter: AdapterConfig, workers: Sequence[Worker], settings: Settings
) -> None:
    """Refuse what the scheduler would never place: its prediction, with headroom, fits nowhere.

    Raises:
        JobTooLarge: workers are known, and none could hold the job; has both figures.
    """
    able = offering(workers, base.name)
    room = 1 + settings.memory_headroom
    needs = {
        worker: round(predicted_bytes(base, adapter, worker, settings) * room) for worker in able
    }
    if not needs or any(need <= worker.budget_bytes for worker, need in needs.items()):
        return
    largest = max(able, key=lambda worker: worker.budget_bytes)
    raise JobTooLarge(
        f"the job needs {_size(needs[largest])} with headroom, and the largest worker, "
        f"{largest.id}, has {_size(largest.budget_bytes)}: "
        "choose a smaller adapter or add a larger worker",
        param="adapter",
    )


def _size(count: int) -> str:
    return f"{count} bytes ({count / GIB:.2f} GiB)"
