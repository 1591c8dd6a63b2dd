"""How a machine's speed is shared among its jobs: as the engine's packing does, by tokens."""

from __future__ import annotations

from collections.abc import Sequence


def speeds(
    demands: Sequence[float], interference: float, weights: Sequence[float] | None = None
) -> list[float]:
    """Each job's speed relative to being alone.

    `demands` are the shares of the machine that the jobs keep busy alone. Nobody gets more than it
    can use; what is left over is shared by `weights`, equally without them (max-min fairness). With
    n jobs everything is slower by 1 + interference (n - 1).
    """
    slower = 1.0 + interference * max(0, len(demands) - 1)
    if sum(demands) <= 1.0:
        return [1.0 / slower] * len(demands)
    weighed = weights or [1.0] * len(demands)
    # Those who ask for least by their weight are served whole, until the rest must share.
    order = sorted(range(len(demands)), key=lambda i: demands[i] / weighed[i])
    room, weight, level = 1.0, sum(weighed), 0.0
    for i in order:
        level = room / weight
        if demands[i] >= level * weighed[i]:
            break
        room -= demands[i]
        weight -= weighed[i]
    return [
        min(1.0, level * w / demand) / slower for demand, w in zip(demands, weighed, strict=True)
    ]
