"""What a request is judged by: the workers there are, and what was learnt of their kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pando_api.services import Services
from pando_shared.calibration import Calibration, read_calibration
from pando_shared.fleet import trusted
from pando_shared.speed import SpeedModel, read_speed
from pando_shared.workers import Worker


@dataclass(frozen=True, slots=True)
class Site:
    """All of the store's workers, the dead too, and `Store.learnt`.

    `start_headroom` is the head-room of bases that nothing is known of yet. What was learnt of a
    base on a kind of device is decoded once, however many workers are of that kind.
    """

    workers: tuple[Worker, ...]
    learnt: Mapping[str, str]
    start_headroom: float
    _calibrations: dict[tuple[str, str], Calibration] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _speeds: dict[tuple[str, str], SpeedModel] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def calibration(self, base_model: str, device_kind: str) -> Calibration:
        key = base_model, device_kind
        if key not in self._calibrations:
            self._calibrations[key] = read_calibration(self.learnt, *key)
        return self._calibrations[key]

    def speed(self, base_model: str, device_kind: str) -> SpeedModel:
        key = base_model, device_kind
        if key not in self._speeds:
            self._speeds[key] = read_speed(self.learnt, *key)
        return self._speeds[key]


def read_site(services: Services) -> Site:
    """Asks the store twice: once a request is enough."""
    workers = tuple(trusted(worker) for worker in services.store.list_workers())
    return Site(workers, services.store.learnt(), services.settings.memory_headroom)
