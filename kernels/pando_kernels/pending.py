"""What adapters add to a tensor, left to whoever reads that tensor next.

`expand` and `unshrink` are bound by reading and writing the tensor that they add to. A kernel that
reads it anyway makes the same sum on the way, and the tensor stays as the base product made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pando_kernels.group_adapters import GroupAdapters
from pando_kernels.segment_layout import SegmentLayout


@dataclass(frozen=True, slots=True)
class Pending:
    """`expand` of S [T, C], or `unshrink` of dS [T, C], that a tensor of T rows still lacks."""

    columns: Tensor
    group: GroupAdapters
    layout: SegmentLayout
