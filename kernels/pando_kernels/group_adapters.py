"""All jobs' adapters at linear layers that read the same input, as the segment kernels take them.

Such layers (q, k and v; gate and up) form a group: their weights are stacked to one [N, K], and
their adapters, which stay separate, are the group's members. Slots are the microbatch's jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pando_kernels.dropout import threshold
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.transfer import to_device

Member = LoraLinear | PacaLinear | None

#: Fields of `GroupAdapters.table`; addresses are of the tensors' first elements.
RANK, KIND, A, B, GRAD_A, GRAD_B, FIELDS = range(7)
#: Values of KIND. For PaCA, field A is the address of its columns (int64).
NONE, LORA, PACA = range(3)
#: Numbers of a slot: s; entries whose 16 random bits are below are dropped; 1 / (1 - p).
SCALE, THRESHOLD, INVERSE, NUMBERS = range(4)
#: A rank is padded to this at least: compiled bf16 dots on sm_90 need 16.
SMALLEST_RANK = 16


@dataclass(frozen=True)
class SlotAdapter:
    """One job's members of a group; `None` where it has no adapter. All share kind and scale."""

    members: tuple[Member, ...]

    @cached_property
    def first(self) -> LoraLinear | PacaLinear:
        return next(member for member in self.members if member is not None)

    @cached_property
    def stacked_a(self) -> tuple[Tensor, Tensor] | None:
        """A and its gradient of all members as one [G·r, K], where they lie behind each other."""
        loras = [member for member in self.members if isinstance(member, LoraLinear)]
        if len(loras) != len(self.members):
            return None
        a, grad = (
            _behind_each_other([getattr(lora, name) for lora in loras]) for name in ("a", "grad_a")
        )
        return None if a is None or grad is None else (a, grad)


def _behind_each_other(tensors: Sequence[Tensor]) -> Tensor | None:
    """Matrices [r, K] that are adjacent in one storage, as one [G·r, K]."""
    first = tensors[0]
    step = first.numel() * first.element_size()
    storage = first.untyped_storage().data_ptr()  # others may happen to lie right behind
    for i, tensor in enumerate(tensors):
        if tensor.shape != first.shape or tensor.data_ptr() != first.data_ptr() + i * step:
            return None
        if tensor.untyped_storage().data_ptr() != storage:
            return None
    r, k = first.shape
    return first.as_strided((len(tensors) * r, k), (k, 1))


@dataclass(frozen=True)
class GroupAdapters:
    """The adapters of J slots at one group of G linears.

    widths are the members' out-features, which sum to N; their rows follow each other in the
    group's weight and output. `site` numbers the group for dropout: one mask serves its members,
    which read the same input.
    """

    slots: tuple[SlotAdapter | None, ...]
    widths: tuple[int, ...]
    site: int = 0

    @cached_property
    def rank(self) -> int:
        """R: columns a member has in S and dS. A power of two that holds the largest rank."""
        largest = max((slot.first.rank for slot in self.slots if slot is not None), default=1)
        return max(SMALLEST_RANK, 1 << (largest - 1).bit_length())

    @property
    def columns(self) -> int:
        """C = G · R: columns of S and dS."""
        return len(self.widths) * self.rank

    @cached_property
    def outputs(self) -> tuple[slice, ...]:
        """Each member's columns of Y."""
        stops = torch.tensor(self.widths).cumsum(0).tolist()
        return tuple(slice(stop - w, stop) for stop, w in zip(stops, self.widths, strict=True))

    def reads_input(self, slots: Sequence[int]) -> bool:
        """Whether the backward pass of a microbatch of these slots reads X: for LoRA's A."""
        chosen = (self.slots[slot] for slot in slots if slot >= 0)
        return any(slot is not None and isinstance(slot.first, LoraLinear) for slot in chosen)

    @property
    def has_dropout(self) -> bool:
        return any(slot.first.dropout > 0.0 for slot in self.slots if slot is not None)

    @cached_property
    def types(self) -> frozenset[tuple[torch.dtype, torch.dtype]]:
        """(type of parameters, type of gradients) of all adapters here."""
        return frozenset(
            (value.dtype, gradient.dtype)
            for slot in self.slots
            for member in (slot.members if slot is not None else ())
            if member is not None
            for value, gradient in _trained(member)
        )

    @cached_property
    def table(self) -> tuple[Tensor, Tensor]:
        """int64 [J, G, FIELDS] and fp32 [J, NUMBERS], on the adapters' device.

        Raises ValueError if a tensor does not begin at a multiple of 16 bytes, as kernels expect.
        """
        addresses = [_rows(slot, len(self.widths)) for slot in self.slots]
        numbers = [_numbers(slot) for slot in self.slots]
        devices = (slot.first.b.device for slot in self.slots if slot is not None)
        device = next(devices, torch.device("cpu"))
        table = torch.tensor(addresses, dtype=torch.int64).view(-1, len(self.widths), FIELDS)
        scales = torch.tensor(numbers, dtype=torch.float32).view(-1, NUMBERS)
        return to_device(table, device), to_device(scales, device)


def _trained(member: LoraLinear | PacaLinear) -> list[tuple[Tensor, Tensor]]:
    pairs = [(member.b, member.grad_b)]
    return [*pairs, (member.a, member.grad_a)] if isinstance(member, LoraLinear) else pairs


def _rows(slot: SlotAdapter | None, members: int) -> list[list[int]]:
    empty = [0] * FIELDS
    if slot is None:
        return [empty] * members
    rows = [empty if member is None else _row(member) for member in slot.members]
    if any(row[field] % 16 for row in rows for field in (A, B, GRAD_A, GRAD_B)):
        raise ValueError("adapters' tensors must be aligned to 16 bytes")
    return rows


def _numbers(slot: SlotAdapter | None) -> list[float]:
    if slot is None:
        return [0.0] * NUMBERS
    p = slot.first.dropout
    return [slot.first.scale, threshold(p), 1.0 / (1.0 - p)]


def _row(member: LoraLinear | PacaLinear) -> list[int]:
    b, grad_b = member.b.data_ptr(), member.grad_b.data_ptr()
    match member:
        case LoraLinear():
            a, grad_a = member.a.data_ptr(), member.grad_a.data_ptr()
            return [member.rank, LORA, a, b, grad_a, grad_b]
        case PacaLinear():
            return [member.rank, PACA, member.columns.data_ptr(), b, 0, grad_b]
