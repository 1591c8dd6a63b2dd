"""How layers reach their rows: as they lie, or through buffers on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pando_kernels.adamw import AdamWSettings
from pando_kernels.meft.expert_ops import Blocks
from pando_kernels.meft.rows import HostRows, LayerRows
from pando_kernels.meft.visits import Visits


class Memory(Protocol):
    """One layer's rows. What it yields is to be used before the next is asked for."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of keys and values that layers multiply with."""
        ...

    @property
    def width(self) -> int:
        """Keys of an expert, c."""
        ...

    def keys(self, visits: Visits) -> Iterator[Blocks]:
        """The keys of all visited experts, some experts at a time."""
        ...

    def values(self, visits: Visits, used: Tensor) -> Iterator[Blocks]:
        """The values that somebody uses, bool [E, c]; others of visited experts hold anything
        finite."""
        ...

    def gradients(self, visits: Visits, used: Tensor) -> Iterator[tuple[Blocks, Blocks]]:
        """Where to add the gradients of used keys and values."""
        ...

    def look_ahead(self, x: Tensor) -> None:
        """The layer's forward pass on x [t, d] is through; what the next may need can set out."""
        ...

    def look_back(self) -> None:
        """The same behind its backward pass, which goes on with the layer before."""
        ...


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rows since the start: moved to the device and back, and wanted there and found in its
    cache; passes more than one that a layer needed; seconds that copies beside the computing stream
    took, of all jobs since one last asked."""

    rows_in: int = 0
    rows_out: int = 0
    hits: int = 0
    splits: int = 0
    seconds: float = 0.0

    def __sub__(self, before: Traffic) -> Traffic:
        return Traffic(
            self.rows_in - before.rows_in,
            self.rows_out - before.rows_out,
            self.hits - before.hits,
            self.splits - before.splits,
            self.seconds - before.seconds,
        )


class JobMemory(Protocol):
    """All layers of one job, and the update of their rows."""

    @property
    def rows(self) -> HostRows: ...

    @property
    def layers(self) -> Sequence[Memory]: ...

    @property
    def traffic(self) -> Traffic: ...

    @property
    def device_bytes(self) -> int:
        """What it holds of the memory of the device that computes."""
        ...

    def connect(self, routers: Sequence[tuple[Tensor, int]]) -> None:
        """Tell every layer's router [E, d] and the experts that a token probes, for guesses."""
        ...

    def collect(self) -> float:
        """Wait until the step's gradients are in the host's memory; returns their norm, NaN if an
        update before has failed."""
        ...

    def step(self, step: int, learning_rate: float, settings: AdamWSettings, scale: float) -> None:
        """Update the rows by `scale` times their gradients, in the job's step `step` (1 is the
        first). May go on behind this call: layers wait for their own rows by themselves."""
        ...

    def settle(self) -> None:
        """Wait until nothing changes the rows."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """What of its arrangements has a part in how sums are rounded, to be kept with the rows."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up rows that something other than a step has changed, and arrangements if there
        are any."""
        ...

    def abandon(self) -> None:
        """Forget the gradients of a step in progress."""
        ...


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Rows used where they are: the processor that computes reads them itself."""

    rows: LayerRows

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.keys.dtype

    @property
    def width(self) -> int:
        return self.rows.keys.shape[1]

    def keys(self, visits: Visits) -> Iterator[Blocks]:
        yield Blocks(self.rows.keys)

    def values(self, visits: Visits, used: Tensor) -> Iterator[Blocks]:
        yield Blocks(self.rows.values)

    def gradients(self, visits: Visits, used: Tensor) -> Iterator[tuple[Blocks, Blocks]]:
        self.rows.touched.logical_or_(used)
        yield Blocks(self.rows.grad_keys), Blocks(self.rows.grad_values)

    def look_ahead(self, x: Tensor) -> None:
        pass

    def look_back(self) -> None:
        pass


class HostJobMemory:
    """A job whose rows are used where they are."""

    def __init__(self, rows: HostRows):
        self.rows = rows
        self.layers = tuple(HostMemory(rows.layer(i)) for i in range(rows.shape.layers))
        self.traffic = Traffic()

    @property
    def device_bytes(self) -> int:
        return self.rows.bytes

    def connect(self, routers: Sequence[tuple[Tensor, int]]) -> None:
        pass

    def collect(self) -> float:
        return self.rows.gradient_norm()

    def step(self, step: int, learning_rate: float, settings: AdamWSettings, scale: float) -> None:
        for index in range(len(self.layers)):
            self.rows.step(index, step, learning_rate, settings, scale)

    def settle(self) -> None:
        pass

    def state(self) -> Mapping[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.rows.refresh()

    def abandon(self) -> None:
        self.rows.abandon()
