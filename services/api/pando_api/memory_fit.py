"""Whether any worker could ever hold a job."""

from __future__ import annotations

from dataclasses import replace

from pando_api.site import Site
from pando_shared.adapters import AdapterConfig
from pando_shared.admission import closest
from pando_shared.catalogue import BaseModel
from pando_shared.errors import JobTooLarge
from pando_shared.fleet import footprint_on, needs_on, offering
from pando_shared.memory import Needs
from pando_shared.settings import GIB
from pando_shared.workers import Worker


def require_fit(site: Site, base: BaseModel, adapter: AdapterConfig) -> None:
    """Refuse what the scheduler would never place: the least to train it in, with headroom, fits
    nowhere.

    Raises:
        JobTooLarge: workers are known, and none could hold the job; has, of each memory that is too
            small, what the job needs and what the largest worker has.
    """
    able = offering(site.workers, base.name)
    if not able:
        return
    needs = [(worker, _least_needs(site, worker, base, adapter)) for worker in able]
    largest, lacks = closest(needs, headroom=0.0)
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


def _least_needs(site: Site, worker: Worker, base: BaseModel, adapter: AdapterConfig) -> Needs:
    """The least that the scheduler will ever set aside of the worker for the job, with headroom.

    Its data is not known yet. Doubt of jobs that nobody measured, and head-room that has grown for
    now, pass: they keep no job out for good.
    """
    learnt = replace(site.calibration(base.name, worker.device_kind), sigma=0.0)
    headroom = 1.0 + min(site.start_headroom, learnt.headroom(site.start_headroom))
    bare = needs_on(worker, base, footprint_on(worker, base, adapter, learnt=learnt), learnt)
    return Needs(int(bare.device_bytes * headroom), int(bare.host_bytes * headroom))


def _size(count: int) -> str:
    return f"{count} bytes ({count / GIB:.2f} GiB)"
