"""A group of frozen linears under many jobs equals each job's own dense formula."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dense_adapters import dense, gradients
from linear_groups import assert_equals_dense, make_group, row_keys, run
from numerics import make_lora, make_paca, normal

from pando_kernels.lora import LoraLinear
from pando_kernels.plan import AdapterSet, Plan, make_plan
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.sequences import Sequences

IN = 18
WIDTHS = {"q": 12, "k": 6, "v": 5}
LINEARS = tuple(WIDTHS)


@pytest.fixture(params=[True, False], ids=["bias", "no-bias"])
def group(request):
    return make_group(1, IN, WIDTHS, bias=request.param)


def lora(seed, rank, names=LINEARS, **options):
    return {
        name: make_lora(seed + 2 * i, (IN, WIDTHS[name]), rank, **options)
        for i, name in enumerate(names)
    }


def paca(seed, rank, names=LINEARS):
    return {name: make_paca(seed + 2 * i, (IN, WIDTHS[name]), rank) for i, name in enumerate(names)}


def stacked_lora(seed, rank, **options):
    """As and their gradients of all members behind each other in one storage each."""
    apart = lora(seed, rank, **options)
    a, grad = (
        torch.stack([getattr(layer, name) for layer in apart.values()]) for name in ("a", "grad_a")
    )
    return {
        name: replace(layer, a=a[i], grad_a=grad[i])
        for i, (name, layer) in enumerate(apart.items())
    }


#: One job each; a group's rank follows from the largest.
JOBS = {
    "none": dict,
    "elsewhere": lambda: {"o": make_lora(1, (IN, 4), 3)},
    "lora": lambda: lora(10, 3),
    "lora-one-a-factor": lambda: stacked_lora(10, 16),
    "lora-one-a-factor-of-small-rank": lambda: stacked_lora(10, 8),
    "lora-wide": lambda: lora(10, 40, scale=0.1),
    "lora-some": lambda: lora(10, 4, ("q", "v")),
    "lora-first": lambda: lora(10, 16, ("q",)),
    "lora-last": lambda: lora(10, 2, ("v",)),
    "dropout": lambda: lora(10, 3, dropout=0.4),
    "dropout-one-a-factor": lambda: stacked_lora(10, 16, dropout=0.4),
    "dropout-some": lambda: lora(10, 5, ("k", "v"), dropout=0.4),
    "paca": lambda: paca(10, 4),
    "paca-some": lambda: paca(10, 16, ("k",)),
    "paca-all-columns": lambda: paca(10, IN),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))
@pytest.mark.parametrize("rows", [0, 1, 5, 130])
def test_one_job_equals_the_dense_formula(group, job, rows):
    assert_equals_dense(group, [(rows, job())], row_keys(0, rows))


def crowd():
    """All jobs in one microbatch, with one that has no rows between others."""
    rows = [3, 1, 7, 130, 4, 2, 1, 9, 5, 6, 20, 3, 8, 1, 64]
    segments = [(n, job()) for n, job in zip(rows, JOBS.values(), strict=True)]
    return [*segments[:5], (0, lora(30, 9)), *segments[5:], (2, {})]


def test_many_jobs_equal_the_dense_formula(group):
    segments = crowd()
    assert_equals_dense(group, segments, row_keys(0, sum(rows for rows, _ in segments)))
    assert not any(gradient.any() for a in segments[5][1].values() for gradient in gradients(a))


def test_jobs_of_one_rank_that_fill_every_column(group):
    """Where S has no zeros to set, it begins as unset memory."""
    segments = [(5, stacked_lora(10, 16)), (9, paca(20, 16)), (0, {}), (4, lora(30, 16))]
    assert_equals_dense(group, segments)


def test_columns_beyond_a_rank_and_rows_without_adapter_are_zero(group):
    segments = [(3, {}), (4, lora(10, 3, ("q", "v"))), (5, lora(20, 20, ("k",)))]
    kept = run(group, segments, normal(3, 12, IN), normal(4, 12, 23)).kept
    used = torch.zeros(12, 3, 32, dtype=torch.bool)
    used[3:7, 0, :3] = used[3:7, 2, :3] = used[7:, 1, :20] = True
    assert kept.group.rank == 32
    assert torch.equal(kept.s != 0, used.view(12, 96))


def test_a_job_in_several_segments(group):
    """Its gradients are the sums over all of its rows."""
    adapters = [lora(10, 3), paca(20, 4)]
    order = [(2, 0), (3, 1), (1, -1), (4, 0), (2, 1)]
    layout = SegmentLayout((0, 2, 5, 6, 10, 12), tuple(j for _, j in order), torch.device("cpu"))
    plan = Plan(AdapterSet(tuple(adapters)), layout, Sequences((12,), layout.device))
    x, dy = normal(3, 12, IN), normal(4, 12, 23)
    y, kept = group.forward(x, plan)
    dx = group.backward(dy, kept, plan, None, True)
    segments = [(rows, adapters[j] if j >= 0 else {}) for rows, j in order]
    expected = dense(group, segments, x, dy)
    torch.testing.assert_close(y, expected.y)
    torch.testing.assert_close(dx, expected.dx)
    for job, places in ((0, (0, 3)), (1, (1, 4))):
        for name, layer in adapters[job].items():
            parts = zip(*(expected.gradients[place, name] for place in places), strict=True)
            for ours, theirs in zip(gradients(layer), parts, strict=True):
                torch.testing.assert_close(ours, sum(theirs))


def test_the_members_of_a_group_read_one_mask(group):
    """q, k and v read the same input: what is dropped for one is dropped for all."""
    adapters = {
        name: LoraLinear(
            torch.eye(IN, dtype=torch.float64),
            torch.eye(width, IN, dtype=torch.float64),
            torch.zeros(IN, IN, dtype=torch.float64),
            torch.zeros(width, IN, dtype=torch.float64),
            1.0,
            0.5,
        )
        for name, width in WIDTHS.items()
    }
    x = torch.ones(50, IN, dtype=torch.float64)
    y = run(group, [(50, adapters)], x, normal(4, 50, 23), row_keys(0, 50)).y
    kept = y - run(group, [(50, {})], x, normal(4, 50, 23)).y > 1.0
    assert torch.equal(kept[:, 12:18], kept[:, :6])
    assert torch.equal(kept[:, 18:], kept[:, :5])
    assert 0.3 < float(kept.double().mean()) < 0.7


def test_groups_have_masks_of_their_own():
    x, dy = normal(3, 20, IN), normal(4, 20, 12)
    outputs = []
    for name in ("layers.0.q", "layers.1.q"):
        one = make_group(1, IN, {name: 12})
        adapter = make_lora(10, (IN, 12), 3, dropout=0.5)
        outputs.append(run(one, [(20, {name: adapter})], x, dy, row_keys(0, 20)).y)
    assert not torch.equal(*outputs)


def test_without_adapters_nothing_is_kept(group):
    x = normal(3, 6, IN)
    got = run(group, [(4, {}), (2, {"o": make_lora(1, (IN, 4), 3)})], x, normal(4, 6, 23))
    assert got.kept is None
    assert torch.equal(got.y, group.weight.forward(x, group.bias))
    assert torch.equal(got.dx, group.weight.backward(normal(4, 6, 23)))


def test_a_dx_that_is_not_wanted_changes_nothing_else(group):
    results = []
    for wants_dx in (True, False):
        segments = crowd()
        rows = sum(n for n, _ in segments)
        x, dy = normal(3, rows, IN), normal(4, rows, 23)
        got = run(group, segments, x, dy, row_keys(0, rows), wants_dx)
        assert (got.dx is not None) is wants_dx
        results.append(all_gradients(segments))
    for with_dx, without in zip(*results, strict=True):
        assert torch.equal(with_dx, without)


def test_on_a_cpu_nothing_is_left_pending(group):
    results = []
    for left in (False, True):
        segments = crowd()
        rows = sum(n for n, _ in segments)
        x, dy = normal(3, rows, IN), normal(4, rows, 23)
        plan = make_plan(segments, keys=row_keys(0, rows))
        if left:
            y, kept, pending = group.forward_pending(x, plan)
            dx, pending_dx = group.backward_pending(dy, kept, plan, None)
            assert pending is None
            assert pending_dx is None
        else:
            y, kept = group.forward(x, plan)
            dx = group.backward(dy, kept, plan, None, True)
        results.append((y, dx, *all_gradients(segments)))
    for added, left in zip(*results, strict=True):
        assert torch.equal(added, left)


def all_gradients(segments):
    return [g for _, job in segments for layer in job.values() for g in gradients(layer)]


def test_an_input_that_is_made_again_gives_the_same(group):
    results = []
    for again in (False, True):
        segments = crowd()
        rows = sum(n for n, _ in segments)
        x, dy = normal(3, rows, IN), normal(4, rows, 23)
        plan = make_plan(segments, keys=row_keys(0, rows))
        _, kept = group.forward(x, plan)
        assert kept.x is x
        if again:
            kept = kept.without_input()
            assert kept.x is None
        dx = group.backward(dy, kept, plan, x.clone() if again else None, True)
        results.append((dx, *all_gradients(segments)))
    for kept_input, made_again in zip(*results, strict=True):
        assert torch.equal(kept_input, made_again)


@pytest.mark.parametrize(
    ("segments", "reads"),
    [
        ([(2, paca(1, 3)), (2, {})], False),
        ([(2, paca(1, 3)), (2, lora(1, 3, ("v",)))], True),
    ],
    ids=["paca-alone", "beside-lora"],
)
def test_the_input_is_kept_only_for_lora(group, segments, reads):
    kept = run(group, segments, normal(3, 4, IN), normal(4, 4, 23)).kept
    assert kept.reads_input is reads
    assert (kept.x is not None) is reads


@pytest.mark.parametrize("where", ["parameters", "input", "gradient"])
@pytest.mark.parametrize("bad", ["lora", "lora-one-a-factor", "dropout", "paca", "none"])
def test_nan_in_one_segment_stays_there(group, bad, where):
    """Neither a job's parameters, nor its rows, nor their gradients reach its neighbours."""
    rows = slice(7, 20)
    others = [row for row in range(30) if row not in range(rows.start, rows.stop)]
    results = []
    for poison in (False, True):
        layers = [lora(40, 16), JOBS[bad](), paca(50, 5)]
        x, dy = normal(3, 30, IN), normal(4, 30, 23)
        if poison and where == "parameters":
            for layer in layers[1].values():
                layer.b.fill_(float("nan"))
        elif poison:
            (x if where == "input" else dy)[rows] = float("nan")
        segments = list(zip((7, 13, 10), layers, strict=True))
        got = run(group, segments, x, dy, row_keys(0, 30))
        healthy = all_gradients([segments[0], segments[2]])
        results.append((got.y[others], got.dx[others], *healthy))
        spreads = poison and (where != "parameters" or bool(layers[1]))
        assert bool(got.y.isnan().any() or got.dx.isnan().any()) is spreads
    for clean, beside in zip(*results, strict=True):
        assert torch.equal(clean, beside)
        assert clean.isfinite().all()


def test_the_base_is_only_read(group):
    before = [t.clone() for t in group.weight.stored]
    segments = crowd()
    rows = sum(n for n, _ in segments)
    x, dy = normal(3, rows, IN), normal(4, rows, 23)
    kept = x.clone(), dy.clone()
    run(group, segments, x, dy, row_keys(0, rows))
    for tensor, copy in zip((*group.weight.stored, x, dy), (*before, *kept), strict=True):
        assert torch.equal(tensor, copy)
        assert tensor.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_the_dense_formula(dtype):
    """Gradients of adapters are sums in fp32 of rounded factors."""
    group = make_group(1, IN, WIDTHS, bias=True, dtype=dtype)
    segments = [
        (70, stacked_lora(10, 16, dtype=dtype)),
        (3, {}),
        (50, {name: make_paca(20, (IN, WIDTHS[name]), 4, dtype=dtype) for name in ("q", "v")}),
        (40, lora(30, 5, ("k",), dtype=dtype, dropout=0.3)),
    ]
    x, dy = normal(3, 163, IN, dtype=dtype), normal(4, 163, 23, dtype=dtype)
    expected = dense(group, segments, x, dy, row_keys(0, 163))
    got = run(group, segments, x, dy, row_keys(0, 163))
    u = torch.finfo(dtype).eps
    assert far(got.y, expected.y) < 2 * u
    assert far(got.dx, expected.dx) < 2 * u
    for (index, name), wanted in expected.gradients.items():
        for ours, theirs in zip(gradients(segments[index][1][name]), wanted, strict=True):
            assert ours.dtype == torch.float32
            assert far(ours, theirs) < 2 * u


def far(ours, theirs):
    return float((ours.double() - theirs).norm() / theirs.norm())
