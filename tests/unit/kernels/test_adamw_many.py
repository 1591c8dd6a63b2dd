"""A step of many jobs is torch's clipping and AdamW for each, and one job is none of another's."""

from __future__ import annotations

import pytest
import torch
from many_adamw import clone, make_slot, stepped_by_torch, vectors

from pando_kernels.adamw import AdamWSettings, adamw_many


def test_a_step_of_many_is_torchs_for_each():
    slots = [
        make_slot(1, 123),
        make_slot(2, 1000, settings=AdamWSettings(weight_decay=0.1), shadow=torch.bfloat16),
        make_slot(3, 77, max_grad_norm=0.0, step=9),
        make_slot(4, 77, max_grad_norm=1e6, settings=AdamWSettings(0.8, 0.95, 1e-6)),
    ]
    expected = [stepped_by_torch(slot) for slot in slots]
    norms, finite = adamw_many(slots)
    assert norms.dtype == torch.float32
    assert finite.all()
    for slot, norm, (value, mean, square, total) in zip(slots, norms, expected, strict=True):
        assert norm.item() == pytest.approx(total, rel=1e-6)
        torch.testing.assert_close(slot.value, value, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(slot.mean, mean, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(slot.square, square, rtol=1e-6, atol=1e-7)
        assert not slot.gradient.any()
        if slot.shadow is not None:
            assert torch.equal(slot.shadow, slot.value.to(slot.shadow.dtype))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
def test_a_slot_that_is_not_finite_is_left_and_the_others_never_notice(poison):
    slots = [make_slot(seed, 300, shadow=torch.bfloat16) for seed in (1, 2, 3)]
    slots[1].gradient[7] = poison
    before, alone = clone(slots[1]), [clone(slots[0]), clone(slots[2])]
    norms, finite = adamw_many(slots)
    assert finite.tolist() == [True, False, True]
    assert not norms[1].isfinite()
    for kept, now in zip(vectors(before), vectors(slots[1]), strict=True):
        assert torch.equal(kept.view(torch.uint8), now.view(torch.uint8))
    adamw_many(alone)
    for by_itself, together in zip(alone, (slots[0], slots[2]), strict=True):
        for one, other in zip(vectors(by_itself), vectors(together), strict=True):
            assert torch.equal(one, other)


def test_no_slots_at_all():
    norms, finite = adamw_many([])
    assert norms.shape == finite.shape == (0,)
