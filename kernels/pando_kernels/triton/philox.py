"""The dropout masks of `pando_kernels.dropout`, made where they are used."""

import triton
import triton.language as tl

from pando_kernels import dropout

ROUNDS = tl.constexpr(dropout.ROUNDS)
COLUMNS_A_CALL = tl.constexpr(dropout.COLUMNS_A_CALL)


def signed(site: int) -> int:
    """The same 32 bits as an int32, so that every site is of one type to a kernel."""
    return (site + 2**31) % 2**32 - 2**31


@triton.jit
def words(sequence, position, call, site):
    """Four words of random bits for each (row, call); sequence and position [n, 1], call [1, m]."""
    zero = (call + position.to(tl.int32)) * 0
    position = position.to(tl.int32) + zero
    return tl.philox(sequence, position, call + zero, site + zero, zero, n_rounds=ROUNDS)


@triton.jit
def keep_tile(sequence, position, first, site, threshold, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """bool [ROWS, WIDTH] for columns `first` on, a multiple of 8; sequence, position [ROWS]."""
    call = first // COLUMNS_A_CALL + tl.arange(0, WIDTH // COLUMNS_A_CALL)
    w0, w1, w2, w3 = words(sequence[:, None], position[:, None], call[None, :], site)
    # The axis that is joined last is the innermost: half of word 2 i + j is at [i, j, half].
    low = tl.join(tl.join(w0 & 0xFFFF, w2 & 0xFFFF), tl.join(w1 & 0xFFFF, w3 & 0xFFFF))
    high = tl.join(tl.join(w0 >> 16, w2 >> 16), tl.join(w1 >> 16, w3 >> 16))
    halves = tl.reshape(tl.join(low, high), (ROWS, WIDTH))
    return halves.to(tl.int32) >= threshold


@triton.jit
def keep_columns(sequence, position, columns, site, threshold):
    """bool [n, m] for any columns [m]; sequence, position [n]."""
    call = (columns // COLUMNS_A_CALL).to(tl.int32)
    w0, w1, w2, w3 = words(sequence[:, None], position[:, None], call[None, :], site)
    place = (columns % COLUMNS_A_CALL).to(tl.int32)[None, :]
    word = tl.where(place < 2, w0, tl.where(place < 4, w1, tl.where(place < 6, w2, w3)))
    half = tl.where(place % 2 == 0, word & 0xFFFF, word >> 16)
    return half.to(tl.int32) >= threshold
