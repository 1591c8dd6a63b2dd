"""Rows that lie in the host's memory, for a GPU that computes with them.

A layer's experts are at hand in parts. Those of the hottest experts stay in a cache on the GPU,
which a step refreshes with the rows it changed. The others pass through buffers: which rows a
microbatch needs is known on the GPU, and it reads them from pinned memory itself, ahead of their
use where a guess is possible, and adds gradients to pinned memory behind it. If more experts are
needed than a buffer holds, the layer is passed several times.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from pando_kernels.adamw import AdamWSettings
from pando_kernels.meft.memory import Traffic
from pando_kernels.meft.row_copies import Fetch, Push
from pando_kernels.meft.rows import HostRows
from pando_kernels.meft.staged_layer import StagedMemory
from pando_kernels.meft.staging import Staging

log = logging.getLogger(__name__)


class StagedJob:
    """One job's layers on a device. See `JobMemory`."""

    def __init__(self, staging: Staging, rows: HostRows):
        self.staging, self.rows = staging, rows
        shape = rows.shape
        self.touched = torch.zeros(
            (shape.layers, shape.experts, shape.width), dtype=torch.bool, device=staging.device
        )
        self.routers: list[tuple[Tensor, int]] = []
        expert = shape.width * shape.d
        each = rows.layer(0).keys.dtype.itemsize * 2 * expert * shape.layers
        hot = min(shape.experts, staging.cache_bytes // each)
        numbers = min(staging.blocks(expert), shape.experts) * expert
        staging.make_room(0 if hot == shape.experts else numbers, numbers)
        self._hot = hot
        self.layers = [StagedMemory(self, index, hot) for index in range(shape.layers)]
        self.splits = 0
        #: Whether the backward pass is under way: what it makes again looks ahead at nothing.
        self.goes_back = False
        self._failure: Exception | None = None
        self._counts = torch.zeros(3, dtype=torch.int64, device=staging.device)
        #: By itself, as a side stream counts here beside the computing one.
        self._refreshed = torch.zeros((), dtype=torch.int64, device=staging.device)
        self._told = Traffic()

    def connect(self, routers: Sequence[tuple[Tensor, int]]) -> None:
        self.routers = list(routers)

    def count_reads(self, orders: Tensor, hot: Tensor, ahead: Tensor | None) -> None:
        wanted = orders == Fetch.COPY
        self._counts[0] += (wanted & ~hot).sum()
        self._counts[2] += (wanted & hot).sum()
        if ahead is not None:  # guessed in vain, and moved all the same
            self._counts[0] += ((ahead == Fetch.COPY) & ~wanted & ~hot).sum()

    def count_writes(self, orders: Tensor) -> None:
        self._counts[1] += 2 * (orders != Push.KEEP).sum()

    def count_refresh(self, orders: Tensor, hot: Tensor) -> None:
        self._refreshed += 2 * ((orders == Fetch.COPY) & hot).sum()

    @property
    def traffic(self) -> Traffic:
        return self._told

    @property
    def device_bytes(self) -> int:
        return sum(layer.cache_bytes for layer in self.layers)

    def collect(self) -> float:
        self.settle()
        if self._failure is not None:  # half an update is none: the job must not go on
            return math.nan
        seconds = self.staging.synchronize()
        self.rows.touched.copy_(self.touched.flatten(1))
        rows_in, rows_out, hits = self._counts.tolist()
        self._told = replace(
            self._told,
            rows_in=rows_in + int(self._refreshed),
            rows_out=rows_out,
            hits=hits,
            splits=self.splits,
            seconds=self._told.seconds + seconds,
        )
        return self.rows.gradient_norm()

    def step(self, step: int, learning_rate: float, settings: AdamWSettings, scale: float) -> None:
        for index, layer in enumerate(self.layers):
            update = partial(self._update, index, step, learning_rate, settings, scale)
            layer.forget_ahead()
            layer.outdated(self.touched[index].clone(), self.staging.updates.submit(update))
            layer.step_done()
        self.touched.zero_()
        some_cached = 0 < self._hot < self.rows.shape.experts
        # After steps 1, 2, 4, 8, …: what is hot is soon known.
        if some_cached and step & (step - 1) == 0:
            self._cache_hottest()

    def _update(
        self, index: int, step: int, learning_rate: float, settings: AdamWSettings, scale: float
    ) -> None:
        """In a thread of its own: whatever goes wrong is this job's alone."""
        try:
            self.rows.step(index, step, learning_rate, settings, scale)
        except (RuntimeError, MemoryError) as error:
            log.exception("rows of layer %d cannot be updated", index)
            self._failure = error

    def _cache_hottest(self) -> None:
        heat = torch.stack([layer.heat for layer in self.layers]).cpu()
        for layer, order in zip(self.layers, heat.argsort(1, descending=True), strict=True):
            layer.cache_hottest(order.tolist())
            layer.heat.mul_(0.5)

    def settle(self) -> None:
        for layer in self.layers:
            layer.settle()

    def state(self) -> Mapping[str, Tensor]:
        """What is cached is summed first."""
        return {
            "heat": torch.stack([layer.heat for layer in self.layers]).cpu(),
            "order": torch.tensor([layer.order for layer in self.layers], dtype=torch.int32),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.settle()
        self.rows.refresh()
        for index, layer in enumerate(self.layers):
            layer.forget_ahead()
            layer.cache_hottest(state["order"][index].tolist() if state else layer.order)
            if state:
                layer.heat.copy_(state["heat"][index])

    def abandon(self) -> None:
        self.settle()
        self.staging.synchronize()
        self.goes_back = False
        for layer in self.layers:
            layer.give_up_step()
        self.rows.touched.logical_or_(self.touched.flatten(1).cpu())
        self.rows.abandon()
        self.touched.zero_()
