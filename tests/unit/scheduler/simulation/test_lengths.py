"""Mixes of sequence lengths."""

from __future__ import annotations

from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from pando_scheduler.simulation.lengths import LengthMix, conversations, read_lengths
from pando_shared.errors import InvalidRequest

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def test_a_length_is_context_and_answer(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(HEADER + "t,374,44\nt,91,16\nt,0,5\n\n")
    assert read_lengths(path) == LengthMix((5, 107, 418))


def test_draws_are_the_mixs_and_the_seeds() -> None:
    mix = LengthMix((10, 20, 60))
    random = Random(1)
    drawn = [mix.draw(random) for _ in range(3000)]
    assert set(drawn) == {10, 20, 60}
    assert fmean(drawn) == pytest.approx(30, abs=2)
    assert mix.draw(Random(7)) == mix.draw(Random(7))


def test_the_built_in_mix_has_the_quantiles_of_azures_conversations() -> None:
    """Context p50/p90/p99 1020/2735/4142 and generated 129/424/601, as the trace's README says; the
    sum's quantiles lie between the context's and the sums of both."""
    lengths = conversations().lengths
    at = [lengths[int(share * len(lengths))] for share in (0.5, 0.9)]
    assert at[0] == pytest.approx(1149, rel=0.01)
    assert 2735 < at[1] < 2735 + 424
    assert max(lengths) == 4142 + 601
    assert min(lengths) > 0
    assert list(lengths) == sorted(lengths)


@pytest.mark.parametrize("row", ["t,many,44", "t,-1,44", "t,0,0", "t,12", "t,1.5,2"])
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(f"{HEADER}t,1,1\n{row}\n")
    with pytest.raises(InvalidRequest, match=r"azure\.csv: line 3: token counts"):
        read_lengths(path)


def test_files_that_are_no_mix(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none\.csv: cannot be read"):
        read_lengths(tmp_path / "none.csv")
    path = tmp_path / "azure.csv"
    path.write_text(HEADER)
    with pytest.raises(InvalidRequest, match="no rows"):
        read_lengths(path)
    path.write_text("TIMESTAMP,ContextTokens\n")
    with pytest.raises(InvalidRequest, match="line 1 has no column GeneratedTokens"):
        read_lengths(path)
