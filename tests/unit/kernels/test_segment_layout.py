"""The tables that kernels read cover every row once, and never cross from one job to another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pando_kernels.segment_layout import CHUNK_ROWS, GEMM_ROWS, TILE_ROWS, SegmentLayout

CPU = torch.device("cpu")
lengths = st.lists(st.integers(0, 3) | st.integers(0, 1500), max_size=8)


def layout(rows):
    starts = [0]
    for count in rows:
        starts.append(starts[-1] + count)
    return SegmentLayout(tuple(starts), tuple(range(len(rows))), CPU)


@given(lengths)
def test_tiles_and_chunks_cover_every_row_once_within_its_segment(rows):
    made = layout(rows)
    for pieces, size in ((made.tables.tiles, TILE_ROWS), (made.tables.chunks, CHUNK_ROWS)):
        covered = []
        for segment, first in pieces.tolist():
            stop = min(first + size, made.starts[segment + 1])
            assert made.starts[segment] <= first < stop
            assert (first - made.starts[segment]) % size == 0
            covered += range(first, stop)
        assert covered == list(range(made.tokens))


@given(lengths)
def test_a_segments_chunks_are_found(rows):
    made = layout(rows)
    first = made.tables.seg_chunk.tolist()
    segments = made.tables.chunks[:, 0].tolist()
    for segment in range(len(rows)):
        assert segments[first[segment] : first[segment + 1]] == [segment] * -(
            -rows[segment] // CHUNK_ROWS
        )
    assert first[-1] == len(segments)


@given(lengths)
def test_a_tile_of_the_base_product_finds_the_segments_of_its_rows(rows):
    made = layout(rows)
    owner = [segment for segment, count in enumerate(rows) for _ in range(count)]
    found = made.tables.gemm_first.tolist()
    assert len(found) == -(-made.tokens // GEMM_ROWS) + 1
    if owner:
        assert found == [*owner[::GEMM_ROWS], owner[-1]]


@given(lengths)
def test_starts_and_slots_are_as_given(rows):
    made = layout(rows)
    assert made.tables.seg_start.tolist() == list(made.starts)
    assert made.tables.seg_slot.tolist() == list(made.slots)
    assert {t.dtype for t in (made.tables.seg_start, made.tables.tiles)} == {torch.int32}


def test_parts_are_the_segments_with_rows_and_an_adapter():
    made = SegmentLayout((0, 3, 3, 5, 9, 10), (4, 1, -1, 0, 4), CPU)
    assert made.parts() == [(slice(0, 3), 4), (slice(5, 9), 0), (slice(9, 10), 4)]
    assert made.tokens == 10


@pytest.mark.parametrize(("starts", "slots"), [((0, 1), ()), ((0,), (1,)), ((1, 2), (0,))])
def test_starts_that_do_not_fit_the_slots_are_refused(starts, slots):
    with pytest.raises(ValueError, match="slots need starts from 0 on"):
        SegmentLayout(starts, slots, CPU)
