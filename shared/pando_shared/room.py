"""What a worker with a base has room for: how large its microbatches are, what it makes again."""

from __future__ import annotations

from dataclasses import dataclass

from pando_shared.adapters import LoraConfig
from pando_shared.base_format import unpacked_bytes
from pando_shared.calibration import UNLEARNT, Calibration
from pando_shared.catalogue import BaseModel
from pando_shared.footprint import Footprint
from pando_shared.memory import (
    Needs,
    StepModel,
    activation_bytes_per_token,
    host_bytes,
    resident_bytes,
    step_model,
)
from pando_shared.recompute import Recompute
from pando_shared.workers import Worker

#: Of the memory that a base leaves free, the share that activations may take.
_ACTIVATION_SHARE = 0.35
_SMALLEST_TOKEN_BUDGET = 256
#: A microbatch this large is not worth recomputing more for: CHEAP costs little, so only a large
#: one goes without; BLOCK costs a third more work, and makes none larger than it must be.
_LARGE_ENOUGH = {Recompute.NOTHING: 8192, Recompute.CHEAP: 512, Recompute.BLOCK: 0}
_LARGEST_OF_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class MicrobatchPlan:
    """What the memory of a worker allows a round: tokens in work at once, and what is kept."""

    tokens: int
    recompute: Recompute
    needs: Needs


@dataclass(frozen=True, slots=True)
class Room:
    """One worker on one base. Built once, it answers for many sets of adapters."""

    #: Tokens of a microbatch.
    tokens: int
    #: The most that sets of several adapters recompute.
    most: Recompute
    budget_bytes: int
    #: What the base takes: measured where it is in memory, predicted elsewhere.
    resident_bytes: int
    step: StepModel
    #: Measured over predicted bytes of a step.
    step_factor: float = 1.0

    def needs(self, adapters: Footprint) -> Needs:
        """The least in which the set can train: with the most recomputing that it may use."""
        return Needs(
            self.peak_bytes(adapters, self._most(adapters), self._tokens(adapters)),
            host_bytes(adapters, self.step.on_gpu),
        )

    def peak_bytes(self, adapters: Footprint, recompute: Recompute, tokens: int) -> int:
        """Peak bytes of the device with microbatches of `tokens`."""
        step = self.step.bytes(adapters, tokens, recompute)
        own = adapters.device_bytes + adapters.margin_bytes
        return self.resident_bytes + own + round(step * self.step_factor)

    def plan(self, adapters: Footprint, headroom: float) -> MicrobatchPlan:
        """How the worker trains a set: with the least recomputing that leaves `headroom` of the
        prediction free, which is more while adapters are few. A job that fits in no other way gets
        the worker to itself, and what it takes of recomputing.
        """
        most = self._most(adapters)
        tokens = self._tokens(adapters)
        for recompute in Recompute:
            peak = self.peak_bytes(adapters, recompute, tokens)
            if recompute is most or peak <= self.budget_bytes / (1 + headroom):
                break
        needs = Needs(peak, host_bytes(adapters, self.step.on_gpu))
        return MicrobatchPlan(self.tokens, recompute, needs)

    def _most(self, adapters: Footprint) -> Recompute:
        return Recompute.BLOCK if adapters.count == 1 else self.most

    def _tokens(self, adapters: Footprint) -> int:
        """A sequence is never split, even where it exceeds the token budget."""
        return max(self.tokens, adapters.largest.longest)


def room_on(worker: Worker, base: BaseModel, learnt: Calibration = UNLEARNT) -> Room:
    tokens, most = _tokens_and_recompute(worker, base)
    return Room(
        tokens=tokens,
        most=most,
        budget_bytes=worker.budget_bytes,
        resident_bytes=_resident(worker, base),
        step=step_model(base, worker.base_format, worker.device),
        step_factor=learnt.step,
    )


def _tokens_and_recompute(worker: Worker, base: BaseModel) -> tuple[int, Recompute]:
    held = worker.base_format
    free = worker.budget_bytes - _resident(worker, base) - unpacked_bytes(base, held)
    tokens = 0
    for recompute, enough in _LARGE_ENOUGH.items():
        per_token = activation_bytes_per_token(base, LoraConfig(), held.compute_bytes, recompute)
        tokens = min(worker.token_budget, int(_ACTIVATION_SHARE * max(0, free) / per_token))
        if recompute is Recompute.BLOCK:
            tokens = min(tokens, _LARGEST_OF_BLOCK)
        if tokens >= min(worker.token_budget, enough):
            return max(tokens, _SMALLEST_TOKEN_BUDGET), recompute
    raise AssertionError("BLOCK takes any number of tokens")


def _resident(worker: Worker, base: BaseModel) -> int:
    if worker.base_model == base.name and worker.resident_bytes:
        return worker.resident_bytes
    return resident_bytes(base, worker.base_format)
