"""One job inside the engine: what it trains on, and how far it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pando_kernels.meft.memory import Traffic
from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_shared.training import Plan
from pando_worker.engine.adapters import Adapter
from pando_worker.engine.data import Sequences, batch_at
from pando_worker.engine.row_state import Kept


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What the engine needs to know of a job. Sequences must not exceed `max_seq_length` tokens."""

    id: str
    adapter: AdapterConfig
    plan: Plan
    train: Sequences
    valid: Sequences | None = None


@dataclass(slots=True)
class BatchProgress:
    """The optimizer step a job is in the middle of: sequences to go, and sums so far."""

    pending: list[tuple[NDArray[np.integer], NDArray[np.bool_]]]
    sequences: int
    targets: int
    tokens: int
    loss: float = 0.0
    hits: int = 0


@dataclass(slots=True)
class ResidentJob:
    """A job whose adapter is in the engine's memory.

    `step` counts finished optimizer steps and is, with the weights and moments, the whole of a
    job's training state: data order, learning rate and dropout masks all follow from it.
    """

    job: TrainingJob
    adapter: Adapter
    step: int = 0
    trained_tokens: int = 0
    #: Tokens over the job's weight: within its share, and beside it; see `packing`.
    served_tokens: float = 0
    free_tokens: float = 0.0
    best_valid_loss: float = math.inf
    validations_without_gain: int = 0
    batch: BatchProgress | None = None
    #: The newest checkpoint that storage surely has; rows that changed later are what a MEFT job's
    #: next one holds.
    kept: Kept | None = None
    #: What has been told of the traffic of a MEFT job's rows.
    traffic: Traffic = field(default_factory=Traffic)

    def take_traffic(self) -> Traffic | None:
        """What a MEFT job's rows have moved since this was last asked; None for other jobs."""
        memory = self.adapter.memory
        if memory is None:
            return None
        before, self.traffic = self.traffic, memory.traffic
        return self.traffic - before

    @property
    def finished(self) -> bool:
        return self.step >= self.job.plan.total_steps or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        patience = self.job.plan.config.early_stopping_patience
        return patience > 0 and self.validations_without_gain >= patience

    def current_batch(self) -> BatchProgress:
        """The batch of the step in progress, started if there is none."""
        if self.batch is None:
            plan = self.job.plan
            indices = batch_at(self.step, len(self.job.train), plan.batch_size, plan.config.seed)
            items = [self.job.train.sequence(int(i)) for i in indices]
            self.batch = BatchProgress(
                pending=items,
                sequences=len(items),
                targets=sum(int(targets.sum()) for _, targets in items),
                tokens=sum(len(tokens) for tokens, _ in items),
            )
        return self.batch

    def dropout_keys(self, count: int) -> list[int] | None:
        """Keys of the masks of the batch's next `count` sequences; None: no dropout here.

        They follow from seed, step and a sequence's place in the batch alone, so neighbours, the
        microbatches' size and interruptions leave no trace in the masks.
        """
        if not (isinstance(self.job.adapter, LoraConfig) and self.job.adapter.dropout):
            return None
        batch = self.current_batch()
        first = batch.sequences - len(batch.pending)
        return [self._key(first + i) for i in range(count)]

    def _key(self, sequence: int) -> int:
        seed = np.random.SeedSequence([self.job.plan.config.seed, self.step, sequence])
        return int(seed.generate_state(1, np.uint64)[0] >> 1)

    def abandon_batch(self) -> None:
        """Forget a step in progress; it starts anew from its first sequence."""
        self.batch = None
        self.adapter.clear_gradients()
