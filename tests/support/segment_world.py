"""Microbatches for tests of segment operations, and what the operations must give: dense, in fp64.

Every expectation here is a formula over one job's rows, written with whole matrices, that shares
nothing with the code under test but the definition of dropout's mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pando_kernels.dropout import RowKeys, keep_mask
from pando_kernels.group_adapters import GroupAdapters, Member, SlotAdapter
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.segment_ops import SegmentOps


@dataclass(frozen=True)
class Job:
    """An adapter to make; `missing` are members that have none."""

    kind: type[LoraLinear] | type[PacaLinear]
    rank: int
    missing: tuple[int, ...] = ()
    dropout: float = 0.0
    scale: float = 0.7


@dataclass(frozen=True)
class World:
    """One microbatch: X [T, K], Y and dY [T, N], dX [T, K], S and dS [T, C]."""

    group: GroupAdapters
    layout: SegmentLayout
    x: Tensor
    y: Tensor
    dy: Tensor
    dx: Tensor
    s: Tensor
    ds: Tensor


def normal(seed: int, shape: Sequence[int], like: Tensor) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64).to(like.device, like.dtype)


def make_slot(seed: int, job: Job, widths: Sequence[int], k: int, like: Tensor) -> SlotAdapter:
    """Random parameters, and gradients that already hold something."""
    wide = like if like.dtype == torch.float64 else like.float()
    members: list[Member] = []
    for g, width in enumerate(widths):
        start = 100 * seed + 10 * g
        b = normal(start, (width, job.rank), like)
        grad_b = normal(start + 1, (width, job.rank), wide)
        if g in job.missing:
            members.append(None)
        elif job.kind is LoraLinear:
            a, grad_a = (normal(start + i, (job.rank, k), t) for i, t in ((2, like), (3, wide)))
            members.append(LoraLinear(a, b, grad_a, grad_b, job.scale, job.dropout))
        else:
            order = torch.randperm(k, generator=torch.Generator().manual_seed(start))
            columns = order[: job.rank].sort().values.to(like.device)
            members.append(PacaLinear(columns, b, grad_b, job.scale, job.dropout))
    return SlotAdapter(tuple(members))


def make_world(
    jobs: Sequence[Job | None],
    segments: Sequence[tuple[int, int]],
    widths: tuple[int, ...],
    k: int,
    dtype: torch.dtype,
    device: torch.device,
    seed: int = 1,
) -> World:
    """Segments are (rows, slot). All numbers depend on the seed and the slot or the row alone."""
    like = torch.empty(0, dtype=dtype, device=device)
    slots = tuple(
        None if job is None else make_slot(seed + j, job, widths, k, like)
        for j, job in enumerate(jobs)
    )
    starts = [0]
    for rows, _ in segments:
        starts.append(starts[-1] + rows)
    tokens, n = starts[-1], sum(widths)
    sequence = normal(seed + 50, (tokens,), torch.empty(0, dtype=torch.float64)).view(torch.int64)
    keys = RowKeys(sequence.to(device), torch.arange(tokens, device=device) % 97)
    layout = SegmentLayout(tuple(starts), tuple(slot for _, slot in segments), device, keys)
    group = GroupAdapters(slots, widths, site=3_000_000_019)
    world = World(
        group,
        layout,
        *(normal(seed + 60 + i, (tokens, width), like) for i, width in enumerate([k, n, n, k])),
        *(normal(seed + 70 + i, (tokens, group.columns), like) for i in range(2)),
    )
    return _without_unused_columns(world)


def _without_unused_columns(world: World) -> World:
    used = torch.zeros_like(world.s, dtype=torch.bool)
    for rows, columns, _g, _slot, _member in parts(world):
        used[rows, columns] = True
    return replace(world, s=world.s * used, ds=world.ds * used)


def parts(world: World) -> Iterator[tuple[slice, slice, int, SlotAdapter, Member]]:
    """(rows, columns of S, member's number, slot, member) of every adapter that has rows."""
    for rows, index in world.layout.parts():
        slot = world.group.slots[index]
        for g, member in enumerate(slot.members if slot is not None else ()):
            if slot is not None and member is not None:
                first = g * world.group.rank
                yield rows, slice(first, first + member.rank), g, slot, member


def outputs(world: World, g: int) -> slice:
    first = sum(world.group.widths[:g])
    return slice(first, first + world.group.widths[g])


def mask(world: World, rows: slice, slot: SlotAdapter) -> Tensor:
    """What dropout multiplies X by: 0 or 1 / (1 - p)."""
    p = slot.first.dropout
    if p == 0.0:
        return torch.ones_like(world.x[rows], dtype=torch.float64)
    keep = keep_mask(world.layout.keys.rows(rows), world.group.site, world.x.shape[1], p)
    return keep.double() / (1 - p)


def down(member: Member, k: int) -> Tensor:
    """A [r, K] of either method; PaCA's has ones at its columns."""
    if isinstance(member, LoraLinear):
        return member.a.double()
    return torch.nn.functional.one_hot(member.columns, k).double()


def shrunk(world: World) -> Tensor:
    s = torch.zeros_like(world.s, dtype=torch.float64)
    for rows, columns, _, slot, member in parts(world):
        dropped = world.x[rows].double() * mask(world, rows, slot)
        s[rows, columns] = member.scale * dropped @ down(member, world.x.shape[1]).t()
    return s


def expanded(world: World) -> Tensor:
    y = world.y.double()
    for rows, columns, g, _, member in parts(world):
        y[rows, outputs(world, g)] += world.s[rows, columns].double() @ member.b.double().t()
    return y


def reduced(world: World) -> Tensor:
    ds = torch.zeros_like(world.s, dtype=torch.float64)
    for rows, columns, g, _, member in parts(world):
        part = world.dy[rows, outputs(world, g)].double()
        ds[rows, columns] = member.scale * part @ member.b.double()
    return ds


def unshrunk(world: World) -> Tensor:
    dx = world.dx.double()
    for rows, columns, _, slot, member in parts(world):
        product = world.ds[rows, columns].double() @ down(member, world.x.shape[1])
        dx[rows] += mask(world, rows, slot) * product
    return dx


def gradients_of_b(world: World) -> dict[tuple[int, int], Tensor]:
    """(slot, member) -> what grad_B becomes."""
    grads = {key: member.grad_b.double() for key, member in members(world)}
    for (rows, columns, g, _, _), index in zip(parts(world), _indices(world), strict=True):
        part = world.dy[rows, outputs(world, g)].double()
        grads[index, g] = grads[index, g] + part.t() @ world.s[rows, columns].double()
    return grads


def gradients_of_a(world: World) -> dict[tuple[int, int], Tensor]:
    """(slot, member) -> what grad_A becomes, of LoRAs."""
    grads = {
        key: member.grad_a.double()
        for key, member in members(world)
        if isinstance(member, LoraLinear)
    }
    for (rows, columns, g, slot, _), index in zip(parts(world), _indices(world), strict=True):
        if (index, g) in grads:
            dropped = world.x[rows].double() * mask(world, rows, slot)
            product = world.ds[rows, columns].double().t() @ dropped
            grads[index, g] = grads[index, g] + product
    return grads


def _indices(world: World) -> Iterator[int]:
    for _, index in world.layout.parts():
        slot = world.group.slots[index]
        for member in slot.members if slot is not None else ():
            if member is not None:
                yield index


def members(world: World) -> Iterator[tuple[tuple[int, int], LoraLinear | PacaLinear]]:
    for j, slot in enumerate(world.group.slots):
        for g, member in enumerate(slot.members if slot is not None else ()):
            if member is not None:
                yield (j, g), member


def magnitude(world: World) -> World:
    """All numbers made positive: the formulas then bound what rounding errors are relative to."""

    def positive(member: Member) -> Member:
        if isinstance(member, LoraLinear):
            names = ("a", "b", "grad_a", "grad_b")
        elif isinstance(member, PacaLinear):
            names = ("b", "grad_b")
        else:
            return None
        return replace(member, **{name: getattr(member, name).abs() for name in names})

    slots = tuple(
        None if slot is None else SlotAdapter(tuple(positive(m) for m in slot.members))
        for slot in world.group.slots
    )
    tensors = {name: getattr(world, name).abs() for name in ("x", "y", "dy", "dx", "s", "ds")}
    return replace(world, group=replace(world.group, slots=slots), **tensors)


def assert_near(actual: Tensor, expected: Tensor, bound: Tensor, roundings: float) -> None:
    """|actual - expected| is at most so many roundings of its type, relative to `bound`."""
    limit = roundings * torch.finfo(actual.dtype).eps * bound + torch.finfo(actual.dtype).tiny
    error = (actual.double() - expected).abs()
    assert bool((error <= limit).all()), f"off by {float((error / limit).max()):.3g} of the limit"


def run(ops: SegmentOps, world: World) -> dict[str, Tensor]:
    """What the five operations make of a world; its gradients are accumulated into."""
    group, layout = world.group, world.layout
    y, dx = world.y.clone(), world.dx.clone()
    s = ops.shrink(world.x, group, layout)
    ops.expand(world.s, group, layout, y)
    ds = ops.reduce(world.dy, world.s, group, layout)
    ops.weigh(world.ds, world.x, group, layout)
    ops.unshrink(world.ds, group, layout, dx)
    return {"s": s, "y": y, "ds": ds, "dx": dx}


def alone(world: World, segment: int) -> World:
    """One segment's rows and adapter without the others, whose ranks no longer widen S."""
    start, stop = world.layout.starts[segment : segment + 2]
    rows = slice(start, stop)
    slot = world.group.slots[world.layout.slots[segment]]
    group = replace(world.group, slots=(slot,))
    keys = world.layout.keys
    assert keys is not None
    layout = SegmentLayout((0, stop - start), (0,), world.layout.device, keys.rows(rows))
    wide = world.group.rank
    columns = [g * wide + i for g in range(len(group.widths)) for i in range(group.rank)]
    return World(
        group,
        layout,
        *(getattr(world, name)[rows].clone() for name in ("x", "y", "dy", "dx")),
        *(getattr(world, name)[rows][:, columns].clone() for name in ("s", "ds")),
    )
