"""Where a worker keeps its MEFT jobs' rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pando_kernels.meft.memory import HostJobMemory, JobMemory
from pando_kernels.meft.rows import RowShape, make_rows
from pando_kernels.meft.staged_job import StagedJob
from pando_kernels.meft.staging import Staging
from pando_shared.memory import MEFT_BUFFER_NUMBERS, MEFT_BUFFERS, MEFT_CACHE_BYTES


@dataclass(frozen=True, slots=True)
class RowsHome:
    """`folder`: rows and moments are mapped to files there, so that they may exceed the host's
    memory; None: they are in memory. `staging`: what brings rows to a GPU; None: the processor
    that computes reads them where they are."""

    folder: Path | None = None
    staging: Staging | None = None

    def free(self) -> None:
        """No job has rows any more: give back what was there for all of them."""
        if self.staging is not None:
            self.staging.free()

    def open(
        self, shape: RowShape, keys: Callable[[int, Tensor], None], compute: torch.dtype
    ) -> JobMemory:
        """A job's rows: keys drawn by `keys(layer, [E, c, d])`, values zero.

        Raises:
            OSError: the folder's disk has no room for them.
        """
        if self.staging is None:
            return HostJobMemory(make_rows(shape, keys, torch.float32, False, self.folder))
        rows = make_rows(shape, keys, compute, self.staging.pinned, self.folder)
        return StagedJob(self.staging, rows)


def make_home(device: torch.device, compute: torch.dtype, folder: Path | None = None) -> RowsHome:
    """The home for a base that is on this device and computes in this type."""
    if device.type == "cpu":
        return RowsHome(folder)
    threads = max(1, (os.cpu_count() or 1) // torch.cuda.device_count())
    return RowsHome(
        folder,
        Staging(device, compute, MEFT_BUFFER_NUMBERS, MEFT_CACHE_BYTES, threads, 2 * MEFT_BUFFERS),
    )
