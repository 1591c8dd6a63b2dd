"""The predictor of production and simulator: byte model and speed model, and what was learnt."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from pando_scheduler.picture import JobSize, JobView, WorkerKind, WorkerView
from pando_shared.calibration import UNLEARNT, Calibration
from pando_shared.catalogue import BaseModel
from pando_shared.fleet import footprint_of, learnt_footprint
from pando_shared.footprint import Footprint
from pando_shared.memory import Needs
from pando_shared.room import Room, room_on
from pando_shared.speed import SpeedModel, assumed_speed

#: What a second of a disk and a bus brings of a base.
_LOADED_BYTES_A_SECOND = 1 << 30
#: So many jobs' bytes are remembered: measured ones differ from job to job without end.
_REMEMBERED = 1 << 16


class LearntPredictor:
    """Answers from what is known of a base on a kind of device; remembers its answers.

    `start_headroom` is the head-room of bases that nothing is known of yet.
    """

    def __init__(self, catalogue: Mapping[str, BaseModel], start_headroom: float):
        self.version = 0
        self.catalogue = catalogue
        self.start_headroom = start_headroom
        self._calibrations: Mapping[tuple[str, str], Calibration] = {}
        self._speeds: Mapping[tuple[str, str], SpeedModel] = {}
        #: What the byte model says, which nothing that is learnt changes.
        self._bare: dict[Hashable, Footprint] = {}
        self._forget()

    def learn(
        self,
        calibrations: Mapping[tuple[str, str], Calibration],
        speeds: Mapping[tuple[str, str], SpeedModel],
    ) -> None:
        """Answer from these from now on. Keys are (base, kind of device)."""
        self._calibrations, self._speeds = calibrations, speeds
        self.version += 1
        self._forget()

    def _forget(self) -> None:
        self._footprints: dict[tuple[JobSize, float | None, WorkerKind, str], Footprint] = {}
        self._rooms: dict[tuple[WorkerKind, str], tuple[Room, float]] = {}
        self._demands: dict[tuple[JobSize, WorkerKind, str], float] = {}
        self._models: dict[tuple[WorkerKind, str], SpeedModel] = {}

    def knows(self, base_model: str) -> bool:
        return base_model in self.catalogue

    def footprint(self, job: JobView, worker: WorkerView) -> Footprint | None:
        key = (job.size, job.memory_ratio, worker.kind, job.base_model)
        found = self._footprints.get(key)
        if found is None:
            if len(self._footprints) >= _REMEMBERED:
                self._footprints.clear()
            base = self.catalogue.get(job.base_model)
            if base is None:
                return None
            found = self._footprints[key] = self._footprint(job, worker.kind, base)
        return found

    def _footprint(self, job: JobView, kind: WorkerKind, base: BaseModel) -> Footprint:
        size = job.size
        form = (kind.device, kind.base_format, kind.rows_on_disk)
        key = (size.adapter, size.longest, form, job.base_model)
        bare = self._bare.get(key)
        if bare is None:
            if len(self._bare) >= _REMEMBERED:
                self._bare.clear()
            bare = footprint_of(kind.worker(), base, size.adapter, size.longest)
            self._bare[key] = bare
        learnt = self._calibration(kind, job.base_model)
        return learnt_footprint(bare, size.adapter, learnt, job.memory_ratio, size.out_of_memory)

    def needs(self, worker: WorkerView, base_model: str, footprint: Footprint) -> Needs:
        room, headroom = self._room(worker.kind, base_model)
        bare = room.needs(footprint)
        return Needs(int(bare.device_bytes * headroom), int(bare.host_bytes * headroom))

    def headroom(self, worker: WorkerView, base_model: str) -> float:
        """The share of the prediction that is kept free on top of it."""
        return self._room(worker.kind, base_model)[1] - 1.0

    def demand(self, job: JobView, worker: WorkerView) -> float:
        key = (job.size, worker.kind, job.base_model)
        found = self._demands.get(key)
        if found is None:
            speed = self._speed(worker.kind, job.base_model)
            found = speed.demand(job.size.step_tokens, job.size.adapter.type)
            self._demands[key] = found
        return found

    def slowdown(self, worker: WorkerView, base_model: str, demand: float, count: int) -> float:
        return self._speed(worker.kind, base_model).slowdown(demand, count)

    def alone_seconds(
        self, size: JobSize, base_model: str, tokens: float, kind: WorkerKind
    ) -> float:
        """How long a job would train so many tokens, alone on such a worker."""
        speed = self._speed(kind, base_model)
        return tokens / speed.alone_tokens_per_second(size.step_tokens, size.adapter.type)

    def swap_seconds(self, worker: WorkerView, base_model: str) -> float:
        if worker.base_model == base_model:
            return 0.0
        base = self.catalogue.get(base_model)
        return 0.0 if base is None else base.weight_bytes / _LOADED_BYTES_A_SECOND

    def _calibration(self, kind: WorkerKind, base_model: str) -> Calibration:
        return self._calibrations.get((base_model, kind.device_kind), UNLEARNT)

    def _room(self, kind: WorkerKind, base_model: str) -> tuple[Room, float]:
        found = self._rooms.get((kind, base_model))
        if found is None:
            learnt = self._calibration(kind, base_model)
            room = room_on(kind.worker(), self.catalogue[base_model], learnt)
            found = room, 1.0 + learnt.headroom(self.start_headroom)
            self._rooms[kind, base_model] = found
        return found

    def _speed(self, kind: WorkerKind, base_model: str) -> SpeedModel:
        found = self._models.get((kind, base_model))
        if found is None:
            known = self._speeds.get((base_model, kind.device_kind))
            found = known or assumed_speed(kind.device)
            self._models[kind, base_model] = found
        return found
