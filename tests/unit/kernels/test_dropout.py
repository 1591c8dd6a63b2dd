"""Dropout masks are Philox's, and follow from what a row is alone."""

from __future__ import annotations

import pytest
import torch
from philox_reference import keep
from philox_reference import philox as reference

from pando_kernels.dropout import RowKeys, keep_mask, philox, threshold

#: Random123's known answers (its file kat_vectors): counter, key, output.
ZEROS, ONES = 0x00000000, 0xFFFFFFFF
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
KNOWN = {
    7: [
        ((ZEROS,) * 4, (ZEROS,) * 2, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        ((ONES,) * 4, (ONES,) * 2, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
        (*PI, (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
    ],
    10: [
        ((ZEROS,) * 4, (ZEROS,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (*PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
}
KEYS = [0, 1, -1, 2**63 - 1, -(2**63), 0x123456789ABCDEF0, -0x123456789ABCDEF0]
SITES = [0, 1, 2**31, 2**32 - 1, 0xDEADBEEF]


def one_sequence(key: int, length: int) -> RowKeys:
    return RowKeys(torch.full((length,), key), torch.arange(length))


@pytest.mark.parametrize("rounds", KNOWN)
def test_the_reference_gives_the_known_answers(rounds):
    for counter, key, expected in KNOWN[rounds]:
        assert reference(counter, key, rounds) == expected


def test_ours_gives_the_known_answer():
    zero = torch.zeros(1, dtype=torch.int64)
    words = philox(zero, zero, zero, zero, 0)
    assert tuple(int(word) for word in words) == KNOWN[7][0][2]


def test_words_equal_those_counted_in_python():
    rng = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 2**32, (500, 4), generator=rng)
    edges = torch.cartesian_prod(*[torch.tensor([0, 1, 2**31, 2**32 - 1])] * 4)
    numbers = torch.cat([drawn, edges])
    for site in SITES:
        words = torch.stack(philox(*numbers.unbind(1), site), dim=1)
        for (key0, key1, c0, c1), ours in zip(numbers.tolist(), words.tolist(), strict=True):
            assert tuple(ours) == reference((c0, c1, site, 0), (key0, key1), 7)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("site", SITES)
def test_masks_equal_those_counted_in_python(site, p):
    width = 21
    rows = RowKeys(torch.tensor(KEYS), torch.tensor([0, 1, 2, 77, 4095, 1 << 20, 2**31 - 1]))
    expected = [
        [keep(key, position, site, column, p) for column in range(width)]
        for key, position in zip(rows.sequence.tolist(), rows.position.tolist(), strict=True)
    ]
    assert keep_mask(rows, site, width, p).tolist() == expected


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 100])
def test_a_mask_does_not_depend_on_what_lies_behind_its_width(width):
    rows = one_sequence(12345, 40)
    wide = keep_mask(rows, 3, 104, 0.3)
    assert torch.equal(keep_mask(rows, 3, width, 0.3), wide[:, :width])


def test_a_sequence_has_the_same_mask_alone_among_others_and_in_some_of_its_rows():
    sequences = [one_sequence(key, length) for key, length in ((5, 7), (-9, 30), (5 << 32, 1))]
    packed = RowKeys(
        torch.cat([s.sequence for s in sequences]), torch.cat([s.position for s in sequences])
    )
    together = keep_mask(packed, 8, 50, 0.5)
    for rows, sequence in zip(together.split([7, 30, 1]), sequences, strict=True):
        assert torch.equal(rows, keep_mask(sequence, 8, 50, 0.5))
    chosen = torch.tensor([36, 1, 1, 20])
    assert torch.equal(keep_mask(packed.rows(chosen), 8, 50, 0.5), together[chosen])
    assert torch.equal(keep_mask(packed.rows(slice(5, 12)), 8, 50, 0.5), together[5:12])


def test_other_keys_positions_sites_and_columns_give_other_masks():
    p, shape = 0.5, (64, 64)
    first = keep_mask(one_sequence(1, 64), 0, 64, p)
    others = [
        keep_mask(one_sequence(2, 64), 0, 64, p),
        keep_mask(one_sequence(1 << 32, 64), 0, 64, p),
        keep_mask(one_sequence(1, 64), 1, 64, p),
        keep_mask(one_sequence(1, 65).rows(slice(1, 65)), 0, 64, p),
        keep_mask(one_sequence(1, 64), 0, 65, p)[:, 1:],
        first.t(),
    ]
    deviation = 0.5 / (shape[0] * shape[1]) ** 0.5
    for other in others:
        agreement = float((first == other).double().mean())
        assert abs(agreement - 0.5) < 5 * deviation


@pytest.mark.parametrize("p", [0.01, 0.05, 0.3, 0.5, 0.9])
def test_entries_are_dropped_with_the_probability(p):
    """In all, in each of the eight columns of a call, and in each row: within 5 deviations."""
    mask = keep_mask(one_sequence(42, 512), 7, 1024, p)
    dropped = (~mask).double()
    deviation = (p * (1 - p)) ** 0.5
    assert abs(float(dropped.mean()) - p) < 5 * deviation / dropped.numel() ** 0.5
    by_place = dropped.view(512, 128, 8).mean((0, 1))
    assert float((by_place - p).abs().max()) < 5 * deviation / (512 * 128) ** 0.5
    assert float((dropped.mean(1) - p).abs().max()) < 5 * deviation / 1024**0.5


def test_neighbouring_entries_are_not_correlated():
    centred = keep_mask(one_sequence(42, 512), 7, 1024, 0.5).double() - 0.5
    for shift in (1, 2, 7, 8, 9):
        for dim in (0, 1):
            correlation = 4 * (centred * centred.roll(shift, dim)).mean()
            assert abs(float(correlation)) < 5 / centred.numel() ** 0.5


@pytest.mark.parametrize(("p", "expected"), [(0.0, 0), (0.5, 32768), (0.25, 16384), (0.99, 64881)])
def test_the_threshold_is_the_probability_of_16_bits(p, expected):
    assert threshold(p) == expected


def test_no_rows_at_all():
    assert keep_mask(one_sequence(1, 0), 0, 9, 0.5).shape == (0, 9)
