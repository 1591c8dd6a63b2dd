"""How much room the parts of a reduction need."""

from __future__ import annotations

from pando_kernels.segment_layout import SegmentLayout


def span_count(layout: SegmentLayout, span: int) -> int:
    """Places of spans of so many chunks, by the rule of `tables.span`; a few stay unused."""
    return layout.tables.chunks.shape[0] // span + len(layout.slots) + 1
