"""Least squares with a memory: factors that start at 1 and are fitted to what was seen lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ridge:
    """Factors f that minimise Σ λ^age (x·f - y)² + ρ |f - 1|² with f at least `floor`.

    Kept as the sums that this takes, so that an observation costs the same however many there were.
    `gram` is Σ λ^age x xᵀ, row after row, and `moment` Σ λ^age x y. What is known beforehand is
    never forgotten, only what was seen.
    """

    gram: Vector
    moment: Vector

    def add(self, x: Sequence[float], y: float, weight: float = 1.0) -> Ridge:
        return Ridge(
            tuple(
                old + weight * a * b
                for old, (a, b) in zip(self.gram, ((a, b) for a in x for b in x), strict=True)
            ),
            tuple(old + weight * a * y for old, a in zip(self.moment, x, strict=True)),
        )

    def forget(self, memory: float) -> Ridge:
        """What was seen so far counts `memory` times as much as before."""
        return Ridge(tuple(memory * g for g in self.gram), tuple(memory * m for m in self.moment))

    def solve(self, ridge: float, floor: float) -> Vector:
        """The factors. `ridge` is ρ, above 0."""
        size = len(self.moment)
        pinned: set[int] = set()
        while True:
            free = [i for i in range(size) if i not in pinned]
            rows = [[self.gram[i * size + j] + ridge * (i == j) for j in free] for i in free]
            right = [
                self.moment[i] + ridge - floor * sum(self.gram[i * size + j] for j in pinned)
                for i in free
            ]
            found = dict(zip(free, _solved(rows, right), strict=True))
            below = {i for i, factor in found.items() if factor < floor}
            if not below:
                return tuple(found.get(i, floor) for i in range(size))
            pinned |= below


def unseen(size: int) -> Ridge:
    return Ridge((0.0,) * (size * size), (0.0,) * size)


def _solved(rows: list[list[float]], right: list[float]) -> list[float]:
    """Of a symmetric, positive definite matrix: elimination needs no pivoting."""
    size = len(right)
    for i in range(size):
        for k in range(i + 1, size):
            share = rows[k][i] / rows[i][i]
            right[k] -= share * right[i]
            for j in range(i, size):
                rows[k][j] -= share * rows[i][j]
    for i in reversed(range(size)):
        known = sum(rows[i][j] * right[j] for j in range(i + 1, size))
        right[i] = (right[i] - known) / rows[i][i]
    return right
