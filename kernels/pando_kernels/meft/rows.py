"""Keys and values of one job in the host's memory, with what trains them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pando_kernels.adamw import AdamWSettings
from pando_kernels.meft.lazy_adamw import AdamWRows, lazy_adamw
from pando_kernels.transfer import pin

#: Beyond this share of touched rows it is quicker to read a whole table than to gather from it.
_MOST = 0.5
#: Numbers of a table that are gathered at a time.
_GATHERED_NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True)
class RowShape:
    """L layers of E experts of c keys and c values of width d each: M = E · c rows a layer."""

    layers: int
    experts: int
    width: int
    d: int

    @property
    def rows(self) -> int:
        return self.experts * self.width

    @property
    def numbers(self) -> int:
        return self.layers * 2 * self.rows * self.d


@dataclass(frozen=True, slots=True)
class LayerRows:
    """One layer's: views into the job's.

    keys, values, grad_keys, grad_values [E, c, d], the former two in the type that layers multiply
    in; touched bool [E, c]: the row's gradient may be other than zero.
    """

    keys: Tensor
    values: Tensor
    grad_keys: Tensor
    grad_values: Tensor
    touched: Tensor


@dataclass(frozen=True, slots=True)
class HostRows:
    """Row i of a layer is key i with value i, which the same tokens use.

    value, gradient, mean, square fp32 [L, 2, M, d], keys before values; counts int32 [L, M], the
    steps that touched a row; touched bool [L, M], rows of the step in progress; changed_at int32
    [L, M], the job's step that last updated a row here, 0 for none. `shadow` is the value in the
    type that the base computes in, pinned so that a GPU reads it; None if that is the value itself.
    """

    shape: RowShape
    value: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    counts: Tensor
    touched: Tensor
    changed_at: Tensor
    shadow: Tensor | None

    @property
    def bytes(self) -> int:
        tensors = (self.value, self.gradient, self.mean, self.square, self.counts, self.touched)
        extra = (self.changed_at,) if self.shadow is None else (self.changed_at, self.shadow)
        return sum(tensor.nbytes for tensor in (*tensors, *extra))

    def layer(self, index: int) -> LayerRows:
        experts = (2, self.shape.experts, self.shape.width, self.shape.d)
        computed = self.value if self.shadow is None else self.shadow
        keys, values = computed[index].view(experts).unbind(0)
        grad_keys, grad_values = self.gradient[index].view(experts).unbind(0)
        touched = self.touched[index].view(self.shape.experts, self.shape.width)
        return LayerRows(keys, values, grad_keys, grad_values, touched)

    def parameters(self, index: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values in fp32, [E, c, d] each."""
        keys, values = self.value[index].view(2, self.shape.experts, self.shape.width, self.shape.d)
        return keys, values

    def gradient_norm(self) -> float:
        """Of all rows; NaN or infinite if any number is."""
        squares = 0.0
        for gradient, touched in zip(self.gradient, self.touched, strict=True):
            rows = touched.nonzero()[:, 0]
            if not len(rows):
                continue
            if len(rows) < _MOST * len(touched):
                some = rows.split(max(1, _GATHERED_NUMBERS // self.shape.d))
                norms = [torch.linalg.vector_norm(gradient.index_select(1, at)) for at in some]
            else:
                norms = [torch.linalg.vector_norm(gradient)]
            squares += sum(float(norm) ** 2 for norm in norms)
        return float(squares**0.5)

    def step(
        self, index: int, step: int, learning_rate: float, settings: AdamWSettings, scale: float
    ) -> None:
        """Update a layer's touched rows by `scale` times their gradients, which are cleared.

        `step` is the job's, counted from 1.
        """
        touched = self.touched[index]
        tables = AdamWRows(
            self.value[index],
            self.gradient[index],
            self.mean[index],
            self.square[index],
            self.counts[index],
            None if self.shadow is None else self.shadow[index],
        )
        lazy_adamw(tables, touched.nonzero()[:, 0], learning_rate, settings, scale)
        self.changed_at[index].masked_fill_(touched, step)
        touched.zero_()

    def abandon(self) -> None:
        """Forget the gradients of a step in progress."""
        for gradient, touched in zip(self.gradient, self.touched, strict=True):
            gradient.index_fill_(1, touched.nonzero()[:, 0], 0.0)
            touched.zero_()

    def refresh(self) -> None:
        """Bring the shadow up to the values, which something other than a step has changed."""
        if self.shadow is not None:
            self.shadow.copy_(self.value)


def make_rows(
    shape: RowShape,
    keys: Callable[[int, Tensor], None],
    compute: torch.dtype = torch.float32,
    pinned: bool = False,
    folder: Path | None = None,
) -> HostRows:
    """Rows whose values are zero and whose keys `keys(layer, [E, c, d])` fills in place, layers
    side by side.

    pinned: a GPU reads rows and writes gradients by itself. folder: value and moments are mapped
    to files there, which have no name, so that nothing is left of them whatever ends the process.

    Raises:
        OSError: the folder's disk has no room for them.
    """
    size = (shape.layers, 2, shape.rows, shape.d)

    def table(dtype: torch.dtype = torch.float32) -> Tensor:
        if folder is None:
            return torch.zeros(size, dtype=dtype)
        return _mapped(folder, shape.numbers, dtype).view(size)

    flags = (shape.layers, shape.rows)
    direct = compute == torch.float32 and not (pinned and folder)
    mean, square = table(), table()
    value = table()
    gradient = torch.zeros(size) if pinned else table()
    shadow = None if direct else torch.zeros(size, dtype=compute)
    if pinned:
        pin(gradient)
        pin(value if shadow is None else shadow)
    rows = HostRows(
        shape,
        value,
        gradient,
        mean,
        square,
        counts=torch.zeros(flags, dtype=torch.int32),
        touched=torch.zeros(flags, dtype=torch.bool),
        changed_at=torch.zeros(flags, dtype=torch.int32),
        shadow=shadow,
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda index: keys(index, rows.parameters(index)[0]), range(shape.layers)))
    rows.refresh()
    return rows


def _mapped(folder: Path, numbers: int, dtype: torch.dtype) -> Tensor:
    """Zeros in a file without a name. Its blocks are reserved now: a disk that fills up later
    would end the process at a write to memory."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="pando-rows-", dir=folder)
    try:
        os.posix_fallocate(handle, 0, max(1, numbers * dtype.itemsize))
        return torch.from_file(name, shared=True, size=numbers, dtype=dtype)
    finally:
        os.close(handle)
        os.unlink(name)
