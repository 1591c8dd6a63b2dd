"""Whether any worker could ever hold a job."""

from __future__ import annotations

from collections.abc import Sequence

from pando_shared.adapters import AdapterConfig
from pando_shared.catalogue import BaseModel
from pando_shared.errors import JobTooLarge
from pando_shared.fleet import offering, predict_on
from pando_shared.settings import GIB, Settings
from pando_shared.workers import Worker


def require_fit(
    base: BaseModel, adapter: AdapterConfig, workers: Sequence[Worker], settings: Settings
) -> None:
    """Refuse what the scheduler would never place: its prediction, with headroom, fits nowhere.

    Raises:
        JobTooLarge: workers are known, and none could hold the job; has both figures.
    """
    able = offering(workers, base.name)
    room = 1 + settings.memory_headroom
    needs = {worker: round(predict_on(worker, base, [adapter]) * room) for worker in able}
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
