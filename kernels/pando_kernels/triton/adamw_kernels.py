"""The kernels of AdamW over many jobs' vectors; `adamw` says what they are for.

A vector is cut into chunks from its own start, and a chunk's sum of squares is made in a fixed
order. So neither a norm nor an update depends on which other jobs take part.
"""

import triton
import triton.language as tl

from pando_kernels.triton.tables import pointer

#: Numbers of a vector that one program takes.
CHUNK = tl.constexpr(8192)

#: Fields of the table of addresses; the last is how many numbers a vector has.
VALUE, GRADIENT, MEAN, SQUARE, SHADOW, SIZE, FIELDS = (tl.constexpr(i) for i in range(7))
#: Fields of the table of numbers.
LIMIT, DECAY, MEAN_SHARE, BETA2, SQUARE_SHARE, EPSILON, RATE, ROOT, ELSEWHERE, NUMBERS = (
    tl.constexpr(i) for i in range(10)
)


@triton.jit
def _slot(first_chunk, JOBS: tl.constexpr):
    """(slot, first number) of this program's chunk; `first_chunk` [JOBS] ascends."""
    chunk = tl.program_id(0)
    starts = tl.load(first_chunk + tl.arange(0, JOBS))
    slot = tl.sum((starts <= chunk).to(tl.int32), 0) - 1
    return slot, (chunk - tl.load(first_chunk + slot)).to(tl.int64) * CHUNK


@triton.jit
def _sum_of_squares(gradient, start, stop, BLOCK: tl.constexpr):
    acc = tl.zeros((BLOCK,), tl.float32)
    for step in tl.static_range(CHUNK // BLOCK):
        i = start + step * BLOCK + tl.arange(0, BLOCK)
        g = tl.load(gradient + i, mask=i < stop, other=0.0)
        acc += g * g
    return tl.sum(acc, 0)


@triton.jit
def squares_kernel(addresses, first_chunk, sums, JOBS: tl.constexpr, BLOCK: tl.constexpr):
    """sums [chunks]: the sum of squares of each chunk of a gradient."""
    slot, start = _slot(first_chunk, JOBS)
    entry = addresses + slot * FIELDS
    gradient = pointer(tl.load(entry + GRADIENT), tl.float32)
    size = tl.load(entry + SIZE)
    # Of a full chunk the compiler can tell that its end is aligned, and loads 16 bytes at once.
    if start + CHUNK <= size:
        found = _sum_of_squares(gradient, start, start + CHUNK, BLOCK)
    else:
        found = _sum_of_squares(gradient, start, size, BLOCK)
    tl.store(sums + tl.program_id(0), found)


@triton.jit
def norms_kernel(numbers, first_chunk, sums, norms, finite, scales, SUMS: tl.constexpr):
    """Program j: norm of slot j's gradient, whether it is finite, and what it is multiplied by."""
    slot = tl.program_id(0)
    stop = tl.load(first_chunk + slot + 1)
    acc = tl.zeros((SUMS,), tl.float32)
    for first in tl.range(tl.load(first_chunk + slot), stop, SUMS):
        i = first + tl.arange(0, SUMS)
        acc += tl.load(sums + i, mask=i < stop, other=0.0)
    elsewhere = tl.load(numbers + slot * NUMBERS + ELSEWHERE)
    norm = tl.sqrt_rn(tl.sum(acc, 0) + elsewhere * elsewhere)
    limit = tl.load(numbers + slot * NUMBERS + LIMIT)
    tl.store(norms + slot, norm)
    tl.store(finite + slot, (norm < float("inf")).to(tl.int8))
    scale = tl.where(limit > 0.0, tl.minimum(tl.div_rn(limit, norm + 1e-6), 1.0), 1.0)
    tl.store(scales + slot, scale)


@triton.jit
def _update(entry, number, scale, start, stop, BLOCK: tl.constexpr, SHADOW_TYPE: tl.constexpr):
    value = pointer(tl.load(entry + VALUE), tl.float32)
    gradient = pointer(tl.load(entry + GRADIENT), tl.float32)
    mean = pointer(tl.load(entry + MEAN), tl.float32)
    square = pointer(tl.load(entry + SQUARE), tl.float32)
    shadow = tl.load(entry + SHADOW)
    decay = tl.load(number + DECAY)
    mean_share = tl.load(number + MEAN_SHARE)
    beta2 = tl.load(number + BETA2)
    square_share = tl.load(number + SQUARE_SHARE)
    epsilon = tl.load(number + EPSILON)
    rate = tl.load(number + RATE)
    root = tl.load(number + ROOT)
    for step in tl.range(CHUNK // BLOCK):
        i = start + step * BLOCK + tl.arange(0, BLOCK)
        live = i < stop
        g = tl.load(gradient + i, mask=live, other=0.0) * scale
        m = tl.load(mean + i, mask=live, other=0.0)
        v = tl.load(square + i, mask=live, other=0.0)
        m += mean_share * (g - m)
        v = beta2 * v + square_share * g * g
        found = tl.load(value + i, mask=live, other=0.0) * decay
        found -= rate * tl.div_rn(m, tl.div_rn(tl.sqrt_rn(v), root) + epsilon)
        tl.store(value + i, found, mask=live)
        tl.store(mean + i, m, mask=live)
        tl.store(square + i, v, mask=live)
        tl.store(gradient + i, tl.zeros((BLOCK,), tl.float32), mask=live)
        if shadow != 0:
            tl.store(pointer(shadow, SHADOW_TYPE) + i, found.to(SHADOW_TYPE), mask=live)


@triton.jit
def update_kernel(
    addresses, numbers, first_chunk, finite, scales,
    JOBS: tl.constexpr, BLOCK: tl.constexpr, SHADOW_TYPE: tl.constexpr,
):  # fmt: skip
    """One chunk of a slot whose gradient is finite."""
    slot, start = _slot(first_chunk, JOBS)
    if tl.load(finite + slot) != 0:
        entry = addresses + slot * FIELDS
        number = numbers + slot * NUMBERS
        scale = tl.load(scales + slot)
        size = tl.load(entry + SIZE)
        if start + CHUNK <= size:
            _update(entry, number, scale, start, start + CHUNK, BLOCK, SHADOW_TYPE)
        else:
            _update(entry, number, scale, start, size, BLOCK, SHADOW_TYPE)
