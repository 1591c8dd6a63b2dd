"""One layer's rows on a GPU: hot experts in a cache, the others through buffers, in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import proxy

import torch
from torch import Tensor

from pando_kernels.meft.buffers import Buffer, await_event
from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.row_copies import Fetch, Push, fetch_rows, push_rows
from pando_kernels.meft.rows import LayerRows
from pando_kernels.meft.visits import Visits

if TYPE_CHECKING:
    from pando_kernels.meft.staged_job import StagedJob


@dataclass(slots=True)
class _Ahead:
    """Rows on their way: in which buffer, and which, int8 [E, c] of `Fetch`."""

    buffer: Buffer
    orders: Tensor


class StagedMemory:
    """One layer of one job on the device. See `Memory`."""

    def __init__(self, job: StagedJob, index: int, hot: int):
        shape, device = job.rows.shape, job.staging.device
        self._job, self._index = proxy(job), index  # the job has its layers: no circle
        self._rows: LayerRows = job.rows.layer(index)
        self._size = (shape.width, shape.d)
        self._cache = torch.zeros((2, hot, *self._size), dtype=self.dtype, device=device)
        self._at_once = min(job.staging.blocks(shape.width * shape.d), shape.experts)
        self._all = _places(shape.experts, range(shape.experts), self._at_once, device)
        #: Visits of each expert in past steps, of which older ones count less, and in this one.
        self.heat = torch.zeros(shape.experts, device=device)
        self._warmth = torch.zeros_like(self.heat)
        self._keys_ahead: _Ahead | None = None
        self._values_ahead: _Ahead | None = None
        self._arrived: torch.cuda.Event | None = None
        #: Experts visited, and rows used, in the last forward pass.
        self.probed = torch.zeros(shape.experts, dtype=torch.bool, device=device)
        self._used = torch.zeros((shape.experts, shape.width), dtype=torch.bool, device=device)
        #: Rows of the cache that are behind the host's, and who is still changing those.
        self._stale: Tensor | None = torch.ones_like(self._used)
        self._update: Future[None] | None = None
        self.cache_hottest(range(shape.experts))

    @property
    def dtype(self) -> torch.dtype:
        return self._rows.keys.dtype

    @property
    def width(self) -> int:
        return self._size[0]

    @property
    def cache_bytes(self) -> int:
        return self._cache.nbytes

    @property
    def touched(self) -> Tensor:
        """Rows that the step in progress has gradients of, bool [E, c], on the device."""
        touched: Tensor = self._job.touched[self._index]
        return touched

    def keys(self, visits: Visits) -> Iterator[Blocks]:
        self.probed = visits.probed
        needed = visits.probed[:, None].expand(-1, self.width)
        ahead, self._keys_ahead = self._keys_ahead, None
        orders = needed.to(torch.int8) * Fetch.COPY
        yield from self._at_hand(self._rows.keys, self._cache[0], orders, ahead)

    def values(self, visits: Visits, used: Tensor) -> Iterator[Blocks]:
        self._used = used
        ahead, self._values_ahead = self._values_ahead, None
        orders = _value_orders(visits.probed, used)
        yield from self._at_hand(self._rows.values, self._cache[1], orders, ahead)

    def _at_hand(
        self, source: Tensor, cache: Tensor, orders: Tensor, ahead: _Ahead | None
    ) -> Iterator[Blocks]:
        """The cached experts, then the others, as many at a time as a buffer holds."""
        job = self._job
        try:
            await_event(self._arrived)
            self._arrived = None
            self._freshen()
            job.count_reads(orders, self._is_hot, None if ahead is None else ahead.orders)
            for where in self._hot:
                yield Blocks(cache, where)
            for turn, where in enumerate(self._cold):
                missing = orders
                if turn == 0 and ahead is not None:
                    buffer = ahead.buffer
                    missing = orders.masked_fill(ahead.orders == orders, Fetch.KEEP)
                else:
                    buffer = job.staging.reads.take()
                blocks = Blocks(buffer.blocks(self._at_once, *self._size), where)
                fetch_rows(source, missing, blocks)
                yield blocks
            job.splits += max(0, len(self._cold) - 1)
        finally:
            if ahead is not None:
                ahead.buffer.reserved = False

    def gradients(self, visits: Visits, used: Tensor) -> Iterator[tuple[Blocks, Blocks]]:
        orders = torch.where(self.touched, Push.ADD, Push.WRITE).to(torch.int8)
        orders.masked_fill_(~used, Push.KEEP)
        self.touched.logical_or_(used)
        self._warmth += visits.starts.diff()
        job, outward = self._job, self._job.staging.outward
        job.count_writes(orders)
        for where in self._all:
            pair = [job.staging.writes.take() for _ in range(2)]
            parts = [Blocks(b.blocks(self._at_once, *self._size).zero_(), where) for b in pair]
            yield parts[0], parts[1]
            with outward.behind_compute():
                outward.keep(orders)
                push_rows(parts[0], orders, self._rows.grad_keys)
                push_rows(parts[1], orders, self._rows.grad_values)
            for buffer in pair:
                buffer.ready = outward.mark()

    def look_ahead(self, x: Tensor) -> None:
        """Guess the next layer's experts from this one's input, which a residual stream changes
        little, and send for their keys; and for the values that were of use there last."""
        if self._index + 1 < len(self._job.routers) and not self._job.goes_back:
            following = self._job.layers[self._index + 1]
            router, probes = self._job.routers[self._index + 1]
            scores = torch.mm(x.to(router.dtype), router.t())
            probed = scores.new_zeros(scores.shape[1], dtype=torch.bool)
            probed[scores.topk(probes, dim=1).indices.flatten()] = True
            following.send_for_keys(probed)
            following.send_for_values(probed)

    def look_back(self) -> None:
        """The layer before needs what its forward pass needed."""
        self._job.goes_back = self._index > 0
        if self._index > 0:
            before = self._job.layers[self._index - 1]
            before.send_for_values(before.probed)
            before.send_for_keys(before.probed)

    def send_for_keys(self, probed: Tensor) -> None:
        """Set out with these experts' keys, bool [E]."""
        if self._keys_ahead is None:
            orders = probed[:, None].expand(-1, self.width).to(torch.int8) * Fetch.COPY
            self._keys_ahead = self._send(self._rows.keys, orders)

    def send_for_values(self, probed: Tensor) -> None:
        """Set out with the values that the last forward pass used, of these experts, bool [E]."""
        if self._values_ahead is None:
            orders = _value_orders(probed, self._used & probed[:, None])
            self._values_ahead = self._send(self._rows.values, orders)

    def _send(self, source: Tensor, orders: Tensor) -> _Ahead | None:
        buffer = self._job.staging.reads.spare() if self._cold else None
        if buffer is None and self._stale is None:
            return None
        inward = self._job.staging.inward
        with inward.behind_compute():
            inward.keep(orders)
            self._freshen()
            if buffer is not None:
                blocks = Blocks(buffer.blocks(self._at_once, *self._size), self._cold[0])
                fetch_rows(source, orders, blocks)
        self._arrived = inward.mark()
        if buffer is None:
            return None
        buffer.ready = self._arrived
        return _Ahead(buffer, orders)

    def _freshen(self) -> None:
        """Bring what the host has updated to the cache."""
        self.settle()
        stale, self._stale = self._stale, None
        if stale is None or not self._hot:
            return
        self._job.staging.inward.keep(stale)
        orders = stale.to(torch.int8) * Fetch.COPY
        self._job.count_refresh(orders, self._is_hot)
        fetch_rows(self._rows.keys, orders, Blocks(self._cache[0], self._hot[0]))
        fetch_rows(self._rows.values, orders, Blocks(self._cache[1], self._hot[0]))

    def cache_hottest(self, order: Sequence[int]) -> None:
        """Keep the first of these experts in the cache, which is filled anew."""
        self.order = tuple(order)
        experts, hot, device = len(order), self._cache.shape[1], self._cache.device
        self._hot = _places(experts, order[:hot], hot, device)
        self._cold = _places(experts, order[hot:], self._at_once, device)
        self._is_hot = torch.zeros(experts, 1, dtype=torch.bool, device=device)
        self._is_hot[list(order[:hot])] = True
        self._stale = torch.ones_like(self._used)

    def outdated(self, rows: Tensor, update: Future[None]) -> None:
        """The host's rows, bool [E, c], will be others when the update is done."""
        self._stale = rows if self._stale is None else self._stale | rows
        self._update = update

    def step_done(self) -> None:
        """The step's visits count from now on."""
        self.heat += self._warmth
        self._warmth.zero_()

    def give_up_step(self) -> None:
        """The step's visits never count: it will be made again."""
        self.forget_ahead()
        self._warmth.zero_()

    def settle(self) -> None:
        """Wait for the host's update of these rows."""
        update, self._update = self._update, None
        if update is not None:
            update.result()

    def forget_ahead(self) -> None:
        """What was sent for is not what will be needed."""
        for ahead in (self._keys_ahead, self._values_ahead):
            if ahead is not None:
                ahead.buffer.reserved = False
        self._keys_ahead = self._values_ahead = None


def _places(
    experts: int, chosen: Sequence[int], at_once: int, device: torch.device
) -> list[Tensor]:
    """Where the chosen experts' blocks are, at most so many at a time; int32 [E] each."""
    parts = []
    for first in range(0, len(chosen), max(1, at_once)):
        some = list(chosen[first : first + at_once])
        where = torch.full((experts,), -1, dtype=torch.int32)
        where[some] = torch.arange(len(some), dtype=torch.int32)
        parts.append(where.to(device))
    return parts


def _value_orders(probed: Tensor, used: Tensor) -> Tensor:
    """Used rows are copied, others of probed experts cleared: nothing weighs them, and what a
    buffer held before might not be finite. int8 [E, c] of `Fetch`."""
    clear = probed[:, None].to(torch.int8) * Fetch.CLEAR
    return clear.masked_fill(used, Fetch.COPY)
