"""What a round is expected to take of the worker's memory, job by job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pando_shared.attribution import OwnBytes, memory_ratios
from pando_shared.calibration import Calibration
from pando_shared.catalogue import BaseModel
from pando_shared.fleet import footprint_of, learnt_footprint
from pando_shared.footprint import Footprint
from pando_shared.jobs import Job
from pando_shared.recompute import Recompute
from pando_shared.room import MicrobatchPlan, Room, room_on
from pando_shared.workers import Worker


@dataclass(frozen=True, slots=True)
class Expectation:
    """By all that was learnt before the round. `jobs` are those that were to train, by id."""

    room: Room
    jobs: Mapping[str, Job]
    own: Mapping[str, OwnBytes]
    together: Footprint

    def plan(self, headroom: float) -> MicrobatchPlan:
        return self.room.plan(self.together, headroom)

    @property
    def longest(self) -> int:
        return self.together.largest.longest

    def peak_bytes(self, recompute: Recompute, tokens: int) -> int:
        """With microbatches of `tokens`, and what unmeasured jobs may take beyond."""
        return self.room.peak_bytes(self.together, recompute, tokens)

    def memory_ratios(
        self, recompute: Recompute, tokens: int, measured_bytes: int
    ) -> dict[str, float]:
        """Each job's `memory_ratio`, now that the peak is known."""
        own = list(self.own.values())
        step = self.room.step.bytes(self.together, tokens, recompute) * self.room.step_factor
        expected = self.room.resident_bytes + sum(job.expected for job in own) + step
        found = memory_ratios(own, step, measured_bytes - expected)
        return dict(zip(self.own, found, strict=True))


def expectation(
    worker: Worker,
    base: BaseModel,
    jobs: Mapping[str, Job],
    longest: Mapping[str, int],
    learnt: Calibration,
) -> Expectation:
    """`longest`: tokens of each job's longest sequence."""
    own: dict[str, OwnBytes] = {}
    together = Footprint()
    for job_id, job in jobs.items():
        adapter, ratio = job.spec.adapter, job.memory_ratio
        bare = footprint_of(worker, base, adapter, longest[job_id])
        # The caution after memory ran out is no measurement: a ratio that held it would grow.
        likely = learnt_footprint(bare, adapter, learnt, ratio, out_of_memory=0)
        own[job_id] = OwnBytes(bare.device_bytes, likely.device_bytes, ratio is not None)
        together += learnt_footprint(bare, adapter, learnt, ratio, job.out_of_memory)
    return Expectation(room_on(worker, base, learnt), jobs, own, together)
