"""Jobs that take turns without an engine: real batches, no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from pando_shared.adapters import LoraConfig
from pando_shared.training import TrainingConfig, resolve
from pando_worker.engine.data import ListSequences
from pando_worker.engine.job import ResidentJob, TrainingJob
from pando_worker.engine.packing import Turns
from pando_worker.engine.turn_taking import TurnTaking


class TurnWorld:
    """Endless jobs by name, what each has trained, and whose turn it was."""

    def __init__(self, token_budget: int, lanes: int = 1, free_tokens: int = 0):
        self.token_budget = token_budget
        self.turns = TurnTaking(lanes, free_tokens)
        self.jobs: dict[str, ResidentJob] = {}
        self.trained: dict[str, int] = {}

    def join(self, name: str, lengths: Sequence[int], batch_size: int) -> None:
        """A job whose sequences have these lengths, over and over up to a batch at least; as in the
        engine, it joins the least served."""
        repeats = -(-batch_size // len(lengths))
        sizes = [*lengths] * repeats
        data = ListSequences(tuple((np.zeros(n, int), np.ones(n, bool)) for n in sizes))
        config = TrainingConfig(batch_size=batch_size, n_epochs=1_000_000)
        plan = resolve(config, LoraConfig(), len(sizes))
        resident = ResidentJob(TrainingJob(name, LoraConfig(), plan, data), adapter=cast(Any, None))
        resident.served_tokens = min((job.served_tokens for job in self.jobs.values()), default=0)
        self.jobs[name] = resident
        self.trained[name] = 0

    def share(self, **weights: float) -> None:
        self.turns.set_shares(weights, self.jobs.values(), self.token_budget)

    def step(self) -> list[dict[str, int]]:
        """What each microbatch holds: tokens by job."""
        active = list(self.jobs.values())
        planned: Turns = self.turns.take(active, self.token_budget)
        held = [
            {name: self._train(name, count, planned) for name, count in taken.items()}
            for taken in planned.batches
        ]
        self.turns.settle(active, self.token_budget)
        return held

    def _train(self, name: str, count: int, planned: Turns) -> int:
        resident = self.jobs[name]
        batch = resident.current_batch()
        tokens = sum(len(sequence) for sequence, _ in batch.pending[:count])
        del batch.pending[:count]
        self.turns.count(resident, tokens, planned)
        self.trained[name] += tokens
        if not batch.pending:
            resident.step += 1
            resident.batch = None
        return tokens
