"""Recursive least squares against the same problem solved at once by numpy."""

from __future__ import annotations

import numpy as np
import pytest

from pando_shared.ridge import unseen

MEMORY, RIDGE = 0.9, 0.02


def observed(rng: np.random.Generator, truth: np.ndarray, count: int):
    x = rng.uniform(0, 0.5, (count, len(truth)))
    weights = rng.uniform(0.5, 4.0, count)
    y = x @ truth + rng.normal(0, 0.02, count)
    fit = unseen(len(truth))
    for row, value, weight in zip(x, y, weights, strict=True):
        fit = fit.forget(MEMORY).add(row.tolist(), float(value), float(weight))
    return fit, x, y, weights * MEMORY ** np.arange(count - 1, -1, -1)


@pytest.mark.parametrize("seed", range(5))
def test_it_solves_what_one_dense_problem_with_all_rows_does(seed):
    rng = np.random.default_rng(seed)
    fit, x, y, weights = observed(rng, rng.uniform(0.8, 2.0, 4), 40)
    rows = np.vstack([x * np.sqrt(weights)[:, None], np.sqrt(RIDGE) * np.eye(4)])
    right = np.concatenate([y * np.sqrt(weights), np.sqrt(RIDGE) * np.ones(4)])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0]
    assert fit.solve(RIDGE, floor=0.25) == pytest.approx(expected.tolist(), rel=1e-6)


def test_where_nothing_was_seen_factors_are_one():
    assert unseen(3).solve(RIDGE, 0.25) == (1.0, 1.0, 1.0)
    seen = unseen(3).add((1.0, 0.0, 0.0), 2.0, 1e6)
    assert seen.solve(RIDGE, 0.25) == pytest.approx((2.0, 1.0, 1.0))


@pytest.mark.parametrize("seed", range(5))
def test_below_the_floor_the_others_make_the_best_of_it(seed):
    rng = np.random.default_rng(seed)
    fit, x, y, weights = observed(rng, np.array([-1.0, 1.5, 1.0, 2.0]), 40)
    found = np.array(fit.solve(RIDGE, floor=0.25))
    assert found[0] == 0.25
    assert (found >= 0.25).all()

    def loss(factors: np.ndarray) -> float:
        return float(weights @ (x @ factors - y) ** 2 + RIDGE * ((factors - 1) ** 2).sum())

    for _ in range(200):
        other = np.maximum(found + rng.normal(0, 0.05, 4), 0.25)
        assert loss(found) <= loss(other) + 1e-9
