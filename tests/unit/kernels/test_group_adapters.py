"""What kernels are told of a group's adapters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numerics import make_lora, make_paca

from pando_kernels.group_adapters import (
    FIELDS,
    GRAD_A,
    GRAD_B,
    INVERSE,
    KIND,
    LORA,
    NONE,
    NUMBERS,
    PACA,
    RANK,
    SCALE,
    THRESHOLD,
    A,
    B,
    GroupAdapters,
    SlotAdapter,
)
from pando_kernels.lora import LoraLinear


def lora(rank, dropout=0.0, scale=0.7):
    return make_lora(1, (9, 6), rank, scale, dropout)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [([1], 16), ([16], 16), ([17], 32), ([4, 33, 8], 64), ([128], 128), ([100], 128)],
)
def test_ranks_are_padded_to_a_power_of_two_of_at_least_16(ranks, expected):
    slots = tuple(SlotAdapter((None, lora(rank))) for rank in ranks)
    group = GroupAdapters((None, *slots), (6, 6))
    assert group.rank == expected
    assert group.columns == 2 * expected


def test_members_follow_each_other_in_the_output():
    group = GroupAdapters((), (6, 1, 10))
    assert group.outputs == (slice(0, 6), slice(6, 7), slice(7, 17))


def test_only_lora_reads_the_input():
    slots = (SlotAdapter((lora(3),)), SlotAdapter((make_paca(1, (9, 6), 3),)), None)
    group = GroupAdapters(slots, (6,))
    assert group.reads_input([1, 0])
    assert not group.reads_input([1, 2, -1])
    assert not group.reads_input([-1])
    assert not group.reads_input([])


def test_dropout_is_told_of():
    assert GroupAdapters((None, SlotAdapter((lora(3, 0.1),))), (6,)).has_dropout
    assert not GroupAdapters((None, SlotAdapter((lora(3),))), (6,)).has_dropout


def test_the_table_holds_every_members_addresses():
    first, second, paca = lora(3, 0.25, 0.5), lora(3, 0.25, 0.5), make_paca(1, (9, 6), 5, 2.0)
    slots = (SlotAdapter((first, second)), None, SlotAdapter((None, paca)))
    numbers, scales = GroupAdapters(slots, (6, 6)).table
    assert numbers.shape == (3, 2, FIELDS)
    assert scales.shape == (3, NUMBERS)
    for member, layer in ((0, first), (1, second)):
        row = numbers[0, member]
        assert row[[RANK, KIND]].tolist() == [3, LORA]
        tensors = (layer.a, layer.b, layer.grad_a, layer.grad_b)
        assert row[[A, B, GRAD_A, GRAD_B]].tolist() == [t.data_ptr() for t in tensors]
    row = numbers[2, 1]
    assert row[[RANK, KIND]].tolist() == [5, PACA]
    tensors = (paca.columns, paca.b, paca.grad_b)
    assert row[[A, B, GRAD_B]].tolist() == [t.data_ptr() for t in tensors]
    for absent in (numbers[1, 0], numbers[1, 1], numbers[2, 0]):
        assert absent[[RANK, KIND]].tolist() == [0, NONE]
    assert scales[:, [SCALE, THRESHOLD]].tolist() == [[0.5, 16384], [0, 0], [2.0, 0]]
    torch.testing.assert_close(scales[:, INVERSE], torch.tensor([4 / 3, 0.0, 1.0]))


class TestStackedA:
    def adjacent(self, count, rank):
        a, grad = torch.randn(2, count, rank, 9, generator=torch.Generator().manual_seed(0))
        b = torch.zeros(6, rank)
        return [LoraLinear(a[i], b, grad[i], b.clone(), 1.0) for i in range(count)], a, grad

    def test_matrices_behind_each_other_are_one(self):
        members, a, grad = self.adjacent(3, 4)
        found = SlotAdapter(tuple(members)).stacked_a
        for stacked, whole in zip(found, (a, grad), strict=True):
            assert torch.equal(stacked, whole.view(12, 9))
            assert stacked.data_ptr() == whole.data_ptr()

    def test_one_member_is_its_own(self):
        layer = lora(3)
        assert torch.equal(SlotAdapter((layer,)).stacked_a[0], layer.a)

    def test_others_are_not(self):
        (first, second, third), *_ = self.adjacent(3, 4)
        for members in (
            (first, third),
            (second, first),
            (first, None, second),
            (lora(3), lora(3)),
            (first, make_paca(1, (9, 6), 4)),
        ):
            assert SlotAdapter(members).stacked_a is None

    def test_neighbours_by_chance_are_not(self):
        """Allocators put tensors of their own right behind each other."""
        buffer = np.zeros((4, 4, 9), np.float32)
        a1, a2, g1, g2 = (torch.from_numpy(part) for part in buffer)
        b = torch.zeros(6, 4)
        members = LoraLinear(a1, b, g1, b.clone(), 1.0), LoraLinear(a2, b, g2, b.clone(), 1.0)
        assert SlotAdapter(members).stacked_a is None
