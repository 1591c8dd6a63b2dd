"""Steps of MEFT jobs whose rows lie in the host's memory, beside the same with all of them at hand.

`staged` is what a worker does, within a limit of memory; `cached` the same without a limit, where
the cache holds all rows, so that only changed rows and gradients pass between host and device;
`resident` has rows, gradients and moments on the device, which updates all of them.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from device_limit import limited
from host_memory import available_bytes
from llama_shapes import build
from measuring import Deadline, release
from meft_block import Block, run_block
from meft_resident import ResidentMemory, device_rows
from meft_rows import Moved, Variant, compare, compared_table, staged_table
from meft_sizes import GpuSizes, spoken_batch
from reporting import facts, progress
from torch import Tensor

from pando_kernels.meft.memory import JobMemory
from pando_kernels.meft.rows import HostRows, RowShape, make_rows
from pando_kernels.meft.staged_job import StagedJob
from pando_kernels.meft.staging import Staging
from pando_shared.adapters import MeftConfig
from pando_shared.recompute import Recompute
from pando_worker.engine.base_model import open_base

_WHOLE = 1 << 62
#: Left to the host beside an adapter's rows.
_HOST_MARGIN = 4 << 30


def measure_gpu(sizes: GpuSizes, device: torch.device, seconds: float) -> dict[str, Any]:
    """All adapters in all three ways; nothing is started after so many seconds."""
    bench = StagedBench(sizes, device, Deadline(seconds))
    bench.run()
    compared = compare(bench.variants)
    told = [*bench.skipped, staged_table(bench.variants), "", compared_table(compared)]
    return {
        "facts": facts(device),
        "sizes": asdict(sizes),
        "decoder": bench.decoder,
        "skipped": bench.skipped,
        "variants": [
            {**asdict(variant), "tokens_per_second": variant.tokens_per_second}
            for variant in bench.variants
        ],
        "compared": [asdict(row) for row in compared],
        "printed": "\n".join(told),
    }


class StagedBench:
    """Trains every adapter in the three ways, in the time there is, and keeps what it found."""

    def __init__(self, sizes: GpuSizes, device: torch.device, deadline: Deadline):
        self._sizes, self._device, self._deadline = sizes, device, deadline
        self._dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = build(sizes.shape, device, self._dtype)
        self._base = open_base(model, f"random {sizes.shape}", str(device))
        self.decoder = type(self._base.decoder).__name__
        self._items = spoken_batch(sizes.sequences, sizes.length, sizes.shape.vocabulary)
        self.variants: list[Variant] = []
        self.skipped: list[str] = []

    def run(self) -> None:
        for adapter in self._sizes.adapters:
            if self._time_left(f"{adapter.num_keys} keys"):
                self._adapter(adapter)

    def _adapter(self, adapter: MeftConfig) -> None:
        experts, d = adapter.experts, self._base.hidden_size
        layers = len(self._base.feed_forwards)
        shape = RowShape(layers, experts, adapter.num_keys // experts, d)
        each = 4 * 4 + (self._dtype.itemsize if self._dtype != torch.float32 else 0)
        free, needed = available_bytes(), shape.numbers * each + _HOST_MARGIN
        blank = Variant(
            name="",
            keys=adapter.num_keys,
            experts=experts,
            parameters=shape.numbers + layers * experts * d,
            all_rows=2 * layers * shape.rows,
            tokens_per_step=self._sizes.sequences * self._sizes.length,
        )
        levels: Sequence[Recompute] = tuple(Recompute)
        if free < needed:
            self.skipped.append(
                f"{adapter.num_keys} keys: the host has {free / 1e9:.0f} GB for rows and what is "
                f"beside them, which take {needed / 1e9:.0f}"
            )
        else:
            levels = self._from_host(adapter, shape, blank)
        release(self._device)
        if self._time_left(f"{adapter.num_keys} keys: resident"):
            self._resident(adapter, shape, replace(blank, name="resident"), levels)
        release(self._device)

    def _from_host(
        self, adapter: MeftConfig, shape: RowShape, blank: Variant
    ) -> Sequence[Recompute]:
        """Staged and cached in turn; returns what of recomputing fits the limit."""
        levels: Sequence[Recompute] = tuple(Recompute)
        blocks: dict[str, list[Block]] = {"staged": [], "cached": []}
        failures: dict[str, str] = {}
        limit = self._limit()
        rows = self._host_rows(shape)
        for turn in range(self._sizes.rounds):
            for name, found in blocks.items():
                what = f"{adapter.num_keys} keys: {name}, round {turn + 1}"
                if name in failures or not self._time_left(what):
                    continue
                cache = self._sizes.cache_bytes if name == "staged" else _WHOLE
                try:
                    with limited(limit if name == "staged" else None):
                        level, block = self._first_that_fits(
                            adapter, levels, partial(self._stage, rows, cache)
                        )
                except Exception as failure:  # what else there is to measure is measured
                    failures[name] = _told(failure)
                else:
                    levels = (level,)
                    found.append(block)
                    progress(f"{what}: {statistics.median(block.seconds):.3f} s a step")
                release(self._device)
        for name, found in blocks.items():
            variant = replace(
                blank,
                name=name,
                recompute=levels[0].value if found else "",
                limit_bytes=limit if name == "staged" else None,
                host_bytes=rows.bytes,
                failure=failures.get(name),
            )
            self.variants.append(self._filled(variant, found, shape.d))
        return levels

    def _resident(
        self, adapter: MeftConfig, shape: RowShape, blank: Variant, levels: Sequence[Recompute]
    ) -> None:
        def rows() -> JobMemory:
            return ResidentMemory(device_rows(shape, self._dtype, self._device))

        try:
            level, block = self._first_that_fits(adapter, levels, rows)
        except Exception as failure:  # as above
            self.variants.append(replace(blank, failure=_told(failure)))
            return
        found = self._filled(replace(blank, recompute=level.value), [block], shape.d)
        found = replace(found, moved=None, hit_ratio=None, touched_rows=None, probed_rows=None)
        self.variants.append(found)

    def _filled(self, variant: Variant, blocks: Sequence[Block], d: int) -> Variant:
        """With what its blocks found: medians of all steps, and the last block's rows."""
        if not blocks:
            return variant
        seconds = tuple(second for block in blocks for second in block.seconds)
        steps, traffic = len(blocks[-1].seconds), blocks[-1].traffic
        moved = Moved(
            rows_in=traffic.rows_in / steps,
            rows_out=traffic.rows_out / steps,
            hits=traffic.hits / steps,
            splits=traffic.splits / steps,
            bytes_in=traffic.rows_in / steps * d * self._dtype.itemsize,
            bytes_out=traffic.rows_out / steps * d * 4,
            copy_seconds=traffic.seconds / steps if self._device.type == "cuda" else None,
        )
        peaks = [block.peak_bytes for block in blocks if block.peak_bytes is not None]
        peak, limit = max(peaks, default=None), variant.limit_bytes
        return replace(
            variant,
            step_seconds=seconds,
            median_seconds=statistics.median(seconds),
            peak_bytes=peak,
            fits=None if peak is None or limit is None else peak <= limit,
            moved=moved,
            hit_ratio=moved.hit_ratio,
            touched_rows=blocks[-1].touched_rows,
            probed_rows=blocks[-1].probed_rows,
        )

    def _host_rows(self, shape: RowShape) -> HostRows:
        bound = 1.0 / math.sqrt(shape.d)

        def draw(layer: int, keys: Tensor) -> None:
            keys.uniform_(-bound, bound, generator=torch.Generator().manual_seed(layer))

        return make_rows(shape, draw, self._dtype, pinned=self._device.type == "cuda")

    def _stage(self, rows: HostRows, cache_bytes: int) -> StagedJob:
        rows.changed_at.zero_()
        threads = max(1, (os.cpu_count() or 1) // max(1, torch.cuda.device_count()))
        staging = Staging(
            self._device, self._dtype, self._sizes.buffer_numbers, cache_bytes, threads
        )
        return StagedJob(staging, rows)

    def _first_that_fits(
        self, adapter: MeftConfig, levels: Sequence[Recompute], make: Callable[[], JobMemory]
    ) -> tuple[Recompute, Block]:
        """Recompute no more than must be.

        Raises:
            torch.OutOfMemoryError: nothing fits.
        """
        for level in levels[:-1]:
            try:
                return level, self._block(adapter, level, make)
            except torch.OutOfMemoryError:
                progress(f"{adapter.num_keys} keys: recomputing {level.value} is not enough")
            release(self._device)
        return levels[-1], self._block(adapter, levels[-1], make)

    def _block(self, adapter: MeftConfig, level: Recompute, make: Callable[[], JobMemory]) -> Block:
        return run_block(self._base, self._items, adapter, self._sizes, level, make)

    def _time_left(self, what: str) -> bool:
        if self._deadline.passed:
            self.skipped.append(f"{what}: out of time")
        return not self._deadline.passed

    def _limit(self) -> int | None:
        return self._sizes.limit_bytes if self._device.type == "cuda" else None


def _told(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"
