"""A thread that writes checkpoints while their jobs train on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from pando_worker.engine.row_state import Kept


@dataclass(frozen=True, slots=True)
class Writing:
    """A checkpoint on its way: whose, and how it ends."""

    job_id: str
    outcome: Future[Kept]


class CheckpointWriter:
    """Writes one checkpoint at a time, of all jobs, so that no more than one snapshot is held.

    All methods are for the training thread.
    """

    def __init__(self, executor: Executor | None = None):
        """`executor`: where writes run, one at a time; None: in a thread of its own."""
        self._executor = executor or ThreadPoolExecutor(1, "checkpoint-writer")
        self._writing: Writing | None = None

    @property
    def idle(self) -> bool:
        """Whether another may be started: the one before is through, and was taken."""
        return self._writing is None

    def start(self, job_id: str, write: Callable[[], Kept]) -> None:
        """Have a checkpoint written; `write` returns what later ones may build on.

        Raises RuntimeError if not idle.
        """
        if self._writing is not None:
            raise RuntimeError(f"the checkpoint of {self._writing.job_id} is still in writing")
        self._writing = Writing(job_id, self._executor.submit(write))

    def take_ended(self) -> Writing | None:
        """The checkpoint that is through, well or badly; each is told once."""
        writing = self._writing
        if writing is None or not writing.outcome.done():
            return None
        self._writing = None
        return writing

    def wait(self, job_id: str) -> Writing | None:
        """The same for one job's checkpoint alone, once that is through."""
        if self._writing is None or self._writing.job_id != job_id:
            return None
        self._writing.outcome.exception()
        return self.take_ended()
