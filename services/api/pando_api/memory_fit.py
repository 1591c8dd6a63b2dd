"""Whether any worker could ever hold a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pando_shared.adapters import AdapterConfig
from pando_shared.admission import closest
from pando_shared.calibration import Calibration, read_calibration
from pando_shared.catalogue import BaseModel
from pando_shared.errors import JobTooLarge
from pando_shared.fleet import offering, predict_on
from pando_shared.memory import Needs
from pando_shared.settings import GIB, Settings
from pando_shared.workers import Worker


def expected_needs(
    worker: Worker, base: BaseModel, adapter: AdapterConfig, learnt: Mapping[str, str]
) -> Needs:
    """What a job alone is expected to take of the worker, by what was learnt of others. What it may
    take beyond, as nobody has measured it, is not in it."""
    calibration = _calibration(worker, base, learnt)
    return predict_on(worker, base, [adapter], learnt=replace(calibration, sigma=0.0))


def require_fit(
    base: BaseModel,
    adapter: AdapterConfig,
    workers: Sequence[Worker],
    settings: Settings,
    learnt: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse what the scheduler would never place: what is expected, with headroom, fits nowhere.

    `learnt` is `Store.learnt`. Head-room that has grown for now keeps no job out for good.

    Raises:
        JobTooLarge: workers are known, and none could hold the job; has, of each memory that is too
            small, what the job needs and what the largest worker has.
    """
    able = offering(workers, base.name)
    needs = [(worker, expected_needs(worker, base, adapter, learnt)) for worker in able]
    if not needs:
        return
    start = settings.memory_headroom
    learnt_headrooms = (_calibration(worker, base, learnt).headroom(start) for worker in able)
    largest, lacks = closest(needs, min(start, *learnt_headrooms))
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


def _calibration(worker: Worker, base: BaseModel, learnt: Mapping[str, str]) -> Calibration:
    return read_calibration(learnt, base.name, worker.device_kind)


def _size(count: int) -> str:
    return f"{count} bytes ({count / GIB:.2f} GiB)"
