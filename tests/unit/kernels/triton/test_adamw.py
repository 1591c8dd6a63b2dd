"""The kernels that step all jobs: torch's numbers, and one job none of another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from many_adamw import clone, make_slot, stepped_by_torch, vectors

from pando_kernels.adamw import AdamWSettings, adamw_many
from pando_kernels.backend import always_triton

#: Below a chunk of 8192, just at one and beyond it, and over many.
SIZES = (1, 123, 8192, 8208, 50001)

pytestmark = [
    #: The interpreter warns where a GPU goes on with infinity or NaN, as is meant.
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def _triton():
    with always_triton():
        yield


def same(one, other):
    """Whether two slots' vectors are equal bit for bit."""
    return all(
        torch.equal(a.view(torch.uint8), b.view(torch.uint8))
        for a, b in zip(vectors(one), vectors(other), strict=True)
    )


@pytest.mark.parametrize("shadow", [None, torch.bfloat16, torch.float16])
def test_a_step_of_many_is_torchs_for_each(device, shadow):
    kinds = [
        {"max_grad_norm": 1.0, "settings": AdamWSettings(weight_decay=0.1)},
        {"max_grad_norm": 0.0, "step": 1},
        {"max_grad_norm": 1e6, "settings": AdamWSettings(0.8, 0.95, 1e-6), "step": 1000},
    ]
    slots = [
        make_slot(i + 1, size, device, shadow=shadow if i % 2 else None, **kinds[i % 3])
        for i, size in enumerate(SIZES)
    ]
    expected = [stepped_by_torch(slot) for slot in slots]
    norms, finite = adamw_many(slots)
    assert norms.dtype == torch.float32
    assert finite.dtype == torch.bool
    assert finite.all()
    for slot, norm, (value, mean, square, total) in zip(slots, norms, expected, strict=True):
        assert norm.item() == pytest.approx(total, rel=1e-5)
        torch.testing.assert_close(slot.value, value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(slot.mean, mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(slot.square, square, rtol=1e-5, atol=1e-6)
        assert not slot.gradient.any()
        if slot.shadow is not None:
            assert torch.equal(slot.shadow, slot.value.to(slot.shadow.dtype))


def test_thirty_steps_follow_torch(device):
    slot = make_slot(1, 777, device, shadow=torch.bfloat16)
    for vector in (slot.mean, slot.square):
        vector.zero_()
    reference = slot.value.clone().requires_grad_()
    optimizer = torch.optim.AdamW([reference], lr=0.01, weight_decay=0.1)
    for step in range(1, 31):
        current = make_slot(step, 777, device)
        reference.grad = current.gradient * 10.0 ** (step % 5 - 2)
        slot.gradient.copy_(reference.grad)
        torch.nn.utils.clip_grad_norm_([reference], 2.0)
        optimizer.step()
        settings = AdamWSettings(weight_decay=0.1)
        adamw_many(
            [replace(slot, step=step, learning_rate=0.01, settings=settings, max_grad_norm=2.0)]
        )
        torch.testing.assert_close(slot.value, reference.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("place", [0, 9000])
def test_a_slot_that_is_not_finite_is_left_and_the_others_never_notice(device, place, poison):
    slots = [make_slot(seed, 10000, device, shadow=torch.bfloat16) for seed in (1, 2, 3)]
    slots[1].gradient[place] = poison
    before, alone = clone(slots[1]), [clone(slots[0]), clone(slots[2])]
    norms, finite = adamw_many(slots)
    assert finite.tolist() == [True, False, True]
    assert not norms[1].isfinite()
    assert same(before, slots[1])
    norms_alone, _ = adamw_many(alone)
    assert torch.equal(norms_alone, norms[[0, 2]])
    assert same(alone[0], slots[0])
    assert same(alone[1], slots[2])


@pytest.mark.parametrize("neighbours", [(), (5,), (8192, 1, 30000, 16, 16, 16, 16, 16)])
def test_a_job_is_the_same_in_any_company_and_every_time(device, neighbours):
    ours = make_slot(1, 20000, device, shadow=torch.bfloat16)
    alone, before = clone(ours), [make_slot(7, n, device) for n in neighbours]
    behind = [make_slot(8, n, device) for n in neighbours]
    (norm,), _ = adamw_many([alone])
    norms, _ = adamw_many([*before, ours, *behind])
    assert torch.equal(norms[len(before)], norm)
    assert same(alone, ours)


def test_a_job_without_parameters(device):
    slots = [make_slot(1, 300, device), make_slot(2, 0, device), make_slot(3, 300, device)]
    alone = [clone(slots[0]), clone(slots[2])]
    norms, finite = adamw_many(slots)
    adamw_many(alone)
    assert finite.all()
    assert norms[1] == 0.0
    assert same(alone[0], slots[0])
    assert same(alone[1], slots[2])


def test_vectors_that_kernels_cannot_read_are_refused(device):
    slot = make_slot(1, 64, device)
    for name, wrong in (
        ("mean", slot.mean[:32]),
        ("gradient", torch.zeros(128, device=device)[::2]),
        ("square", torch.zeros(65, device=device)[1:]),
        ("value", slot.value.double()),
        ("shadow", torch.zeros(64, dtype=torch.float64, device=device)),
    ):
        with pytest.raises(ValueError, match="slot's"):
            adamw_many([replace(slot, **{name: wrong})])


def test_shadows_of_two_types_are_refused(device):
    slots = [make_slot(1, 64, device, shadow=t) for t in (torch.bfloat16, torch.float16)]
    with pytest.raises(ValueError, match="of one type"):
        adamw_many(slots)
