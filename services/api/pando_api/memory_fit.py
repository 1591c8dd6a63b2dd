"""Whether any worker could ever hold a job."""

from __future__ import annotations

from collections.abc import Sequence

from pando_shared.adapters import AdapterConfig
from pando_shared.admission import closest
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
        JobTooLarge: workers are known, and none could hold the job; has, of each memory that is too
            small, what the job needs and what the largest worker has.
    """
    needs = [
        (worker, predict_on(worker, base, [adapter])) for worker in offering(workers, base.name)
    ]
    if not needs:
        return
    largest, lacks = closest(needs, settings.memory_headroom)
    if not lacks:
        return
    figures = " and ".join(
        f"{_size(lack.needed_bytes)} of {lack.memory} with headroom, where the largest worker, "
        f"{largest.id}, has {_size(lack.budget_bytes)}"
        for lack in lacks
    )
    raise JobTooLarge(
        f"the job needs {figures}: choose a smaller adapter or add a larger worker", param="adapter"
    )


def _size(count: int) -> str:
    return f"{count} bytes ({count / GIB:.2f} GiB)"
