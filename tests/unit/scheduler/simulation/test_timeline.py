"""Samples on an even grid."""

from __future__ import annotations

import pytest

from pando_scheduler.simulation.run import Sample
from pando_scheduler.simulation.timeline import Timeline, timeline


def sample(at: float, queued: int, useful: float) -> Sample:
    return Sample(at, queued, 0, 1, useful)


def test_a_span_has_the_mean_of_what_lies_in_it() -> None:
    """0.2 until 5, 1.0 until 30, 0.5 until 40, in four spans of ten seconds."""
    drawn = timeline([sample(0, 2, 0.2), sample(5, 6, 1.0), sample(30, 0, 0.5)], 40, 4)
    assert drawn.at == [5, 15, 25, 35]
    assert drawn.useful == pytest.approx([0.6, 1.0, 1.0, 0.5])
    assert drawn.queued == pytest.approx([4, 6, 6, 0])


def test_before_the_first_sample_there_was_nothing() -> None:
    assert timeline([sample(15, 4, 1.0)], 20, 2).queued == pytest.approx([0, 2])


def test_samples_beyond_the_end_do_not_count() -> None:
    drawn = timeline([sample(0, 1, 0.5), sample(25, 9, 1.0)], 20, 2)
    assert drawn.useful == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("spans", [1, 3, 7, 300])
def test_the_mean_is_kept_on_any_grid(spans: int) -> None:
    samples = [sample(i * 0.37, i, (i * 7 % 10) / 10) for i in range(100)]
    drawn = timeline(samples, 37.0, spans)
    assert sum(drawn.useful) / spans == pytest.approx(sum(s.useful for s in samples) / 100)
    assert sum(drawn.queued) / spans == pytest.approx(49.5)


def test_nothing_to_draw() -> None:
    assert timeline([], 10, 2) == Timeline([], [], [])
    assert timeline([sample(0, 1, 1.0)], 0, 2) == Timeline([], [], [])
