"""Several microbatches at once on a CPU, each on a core of its own.

Splitting every small product over the cores makes them meet thousands of times a step; splitting
the jobs over the cores makes them meet once. Jobs share nothing but the frozen base, so lanes need
no locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch

from pando_kernels.plan import AdapterSet
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.microbatch import Result, run_microbatch
from pando_worker.engine.packed_batch import Share


class Lanes:
    """Runs microbatches of different jobs side by side, at most `count` of them."""

    def __init__(self, count: int):
        self.count = count
        self._pool = ThreadPoolExecutor(
            count, "lane", initializer=torch.set_num_threads, initargs=(1,)
        )

    def run(
        self,
        base: BaseModel,
        adapters: AdapterSet,
        batches: Sequence[Sequence[Share]],
        train: bool,
    ) -> list[list[Result]]:
        """`run_microbatch` for each; no job may be in two of them.

        A single microbatch runs in the calling thread, with all of its cores.
        """
        if len(batches) == 1:
            return [run_microbatch(base, adapters, batches[0], train)]
        running = [
            self._pool.submit(run_microbatch, base, adapters, batch, train) for batch in batches
        ]
        wait(running)  # whatever one of them raises, none may still work when it is dealt with
        return [lane.result() for lane in running]
