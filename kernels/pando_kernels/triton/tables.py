"""How kernels find rows and adapters: the device side of SegmentLayout and GroupAdapters."""

import triton
import triton.language as tl

from pando_kernels import group_adapters

RANK = tl.constexpr(group_adapters.RANK)
KIND = tl.constexpr(group_adapters.KIND)
A = tl.constexpr(group_adapters.A)
B = tl.constexpr(group_adapters.B)
GRAD_A = tl.constexpr(group_adapters.GRAD_A)
GRAD_B = tl.constexpr(group_adapters.GRAD_B)
FIELDS = tl.constexpr(group_adapters.FIELDS)
LORA = tl.constexpr(group_adapters.LORA)
PACA = tl.constexpr(group_adapters.PACA)

SCALE = tl.constexpr(group_adapters.SCALE)
THRESHOLD = tl.constexpr(group_adapters.THRESHOLD)
INVERSE = tl.constexpr(group_adapters.INVERSE)
NUMBERS = tl.constexpr(group_adapters.NUMBERS)


@triton.jit
def tile(tiles, seg_start, seg_slot, index, ROWS: tl.constexpr):
    """(slot, rows int64 [ROWS], which of them are the segment's) of a tile."""
    segment = tl.load(tiles + 2 * index)
    rows = tl.load(tiles + 2 * index + 1) + tl.arange(0, ROWS)
    live = rows < tl.load(seg_start + segment + 1)
    return tl.load(seg_slot + segment), rows.to(tl.int64), live


@triton.jit
def span(chunks, seg_start, seg_slot, seg_chunk, index, CHUNK: tl.constexpr, SPAN: tl.constexpr):
    """(slot, first row, stop, place in the workspace) of SPAN chunks from chunk `index` on.

    The slot is -1 if a span does not begin with this chunk. Spans begin with their segment;
    their places are distinct, and segment i's follow each other from `first_place(i)` on.
    """
    segment = tl.load(chunks + 2 * index)
    first = tl.load(chunks + 2 * index + 1)
    stop = tl.minimum(first + CHUNK * SPAN, tl.load(seg_start + segment + 1))
    start = tl.load(seg_chunk + segment)
    begins = (index - start) % SPAN == 0
    slot = tl.where(begins, tl.load(seg_slot + segment), -1)
    return slot, first, stop, start // SPAN + segment + (index - start) // SPAN


@triton.jit
def first_place(seg_chunk, segment, SPAN: tl.constexpr):
    """(place of the first span of a segment, its number of spans)."""
    start = tl.load(seg_chunk + segment)
    count = tl.load(seg_chunk + segment + 1) - start
    return start // SPAN + segment, (count + SPAN - 1) // SPAN


@triton.jit
def pointer(address, dtype: tl.constexpr):
    """An address of the table as a pointer: every parameter begins at a multiple of 16 bytes."""
    return tl.multiple_of(address.to(tl.pointer_type(dtype)), 16)


@triton.jit
def member(table, slot, g, G: tl.constexpr, KIND_WANTED: tl.constexpr):
    """Rank of a slot's member g, 0 if there is none of this kind (0: any kind)."""
    entry = table + (slot * G + g) * FIELDS
    rank = tl.load(entry + RANK).to(tl.int32)
    if KIND_WANTED != 0:
        rank = tl.where(tl.load(entry + KIND) == KIND_WANTED, rank, 0)
    return rank


@triton.jit
def address(table, slot, g, G: tl.constexpr, FIELD: tl.constexpr):
    return tl.load(table + (slot * G + g) * FIELDS + FIELD)


@triton.jit
def output_tile(outputs, index, BN: tl.constexpr, ALIGNED: tl.constexpr):
    """(member, columns of Y [BN], rows of its B [BN], which of them exist) of a tile of outputs."""
    column = tl.load(outputs + 4 * index + 1)
    row = tl.load(outputs + 4 * index + 2)
    width = tl.load(outputs + 4 * index + 3)
    if ALIGNED:
        column, row, width = (
            tl.multiple_of(column, 16),
            tl.multiple_of(row, 16),
            tl.multiple_of(width, 16),
        )
    n = tl.arange(0, BN)
    return tl.load(outputs + 4 * index), column + n, row + n, row + n < width


@triton.jit
def number(numbers, slot, FIELD: tl.constexpr):
    return tl.load(numbers + slot * NUMBERS + FIELD)


@triton.jit
def column_rows(table, slot, columns, G: tl.constexpr, R: tl.constexpr, FIELD: tl.constexpr):
    """For columns of C: (row of the member's matrix, its address, whether it is a LoRA's).

    columns [n], any at or beyond G · R included; slot may be -1, which has no adapter.
    """
    inside = (columns < G * R) & (slot >= 0)
    row = columns % R
    entry = table + (tl.maximum(slot, 0) * G + columns // R) * FIELDS
    valid = inside & (tl.load(entry + KIND, mask=inside, other=0) == LORA)
    valid = valid & (row < tl.load(entry + RANK, mask=inside, other=0))
    return row, tl.load(entry + FIELD, mask=valid, other=0), valid


@triton.jit
def ranked(base, row, live, first, rank, COLUMNS: tl.constexpr):
    """[n, COLUMNS] of a matrix with `rank` columns, from column `first` on; zero beyond.

    row [n] and which of them exist. Rows of a rank that 8 divides are aligned, which the compiler
    cannot know unless it sees the multiplication by 8; then it loads 16 bytes at a time.
    """
    i = first + tl.arange(0, COLUMNS)
    row = row.to(tl.int64)
    if rank % 8 == 0:
        length = rank // 8 * 8
        mask = live[:, None] & (i < length)[None, :]
        found = tl.load(base + row[:, None] * length + i[None, :], mask=mask, other=0.0)
    else:
        mask = live[:, None] & (i < rank)[None, :]
        found = tl.load(base + row[:, None] * rank + i[None, :], mask=mask, other=0.0)
    return found
