"""Members of a group may have drawn the same column: it gets what each of them gives."""

from __future__ import annotations

import torch

from pando_kernels.group_adapters import GroupAdapters, SlotAdapter
from pando_kernels.paca import PacaLinear
from pando_kernels.segment_layout import SegmentLayout


def test_shared_columns_get_the_sum(ops, device):
    columns = ([0, 3, 5], [3, 4, 5], [1, 3, 7])
    members = tuple(
        PacaLinear(
            torch.tensor(chosen, device=device),
            torch.zeros(4, 3, device=device),
            torch.zeros(4, 3, device=device),
        )
        for chosen in columns
    )
    group = GroupAdapters((SlotAdapter(members),), (4, 4, 4))
    layout = SegmentLayout((0, 2), (0,), device)
    ds = torch.zeros(2, group.columns, device=device)
    for g in range(3):
        ds[:, g * group.rank : g * group.rank + 3] = 10**g
    dx = torch.zeros(2, 8, device=device)
    ops.unshrink(ds, group, layout, dx)
    expected = torch.tensor([1.0, 100.0, 0.0, 111.0, 10.0, 11.0, 0.0, 100.0], device=device)
    assert torch.equal(dx, expected.expand(2, 8))
