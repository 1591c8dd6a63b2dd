"""Drawings of runs, each a file of its own: turnaround, the cluster over time, tenants' shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pando_scheduler.simulation.drawing import figure_of, hours_on, line, load_matplotlib
from pando_scheduler.simulation.measures import turnaround_seconds
from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.share_plot import tenants
from pando_scheduler.simulation.spread import by_policy
from pando_scheduler.simulation.timeline import timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of a line, and of a strip.
_POINTS = 300


def draw_all(runs: Sequence[Run], folder: Path, suffix: str = "svg") -> list[Path]:
    """Draw the three plots into `folder`, which is made; returns the files.

    Turnaround is of all runs of a policy together, the other two of its first.

    Raises:
        Unavailable: matplotlib is not installed; says how to install it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings: tuple[tuple[str, Callable[[Mapping[str, Sequence[Run]]], Figure]], ...] = (
        ("turnaround", turnaround),
        ("cluster", cluster),
        ("tenants", tenants),
    )
    files = []
    for name, draw in drawings:
        file = folder / f"{name}.{suffix}"
        figure = draw(by_policy(runs))
        # Without a date, and with ids that do not depend on chance, a plot drawn again is the same.
        with load_matplotlib().rc_context({"svg.hashsalt": name}):
            figure.savefig(file, dpi=144, metadata={"Date": None} if suffix == "svg" else None)
        files.append(file)
    return files


def turnaround(groups: Mapping[str, Sequence[Run]]) -> Figure:
    """The share of all jobs that had finished within a time."""
    figure = figure_of(7.2, 4.2)
    axes = figure.subplots()
    shortest = math.inf
    for policy, runs in groups.items():
        hours = sorted(seconds / 3600 for run in runs for seconds in turnaround_seconds(run))
        if not hours:
            continue
        finished = 100 * len(hours) / sum(len(run.outcomes) for run in runs)
        steps = min(_POINTS, len(hours))
        places = [(step + 1) * len(hours) // steps - 1 for step in range(steps)]
        shares = [finished * (place + 1) / len(hours) for place in places]
        shortest = min([shortest, *(hour for hour in hours if hour > 0)])
        axes.step([hours[place] for place in places], shares, where="post", **line(policy))
    axes.set_xscale("log")
    if shortest < math.inf:
        axes.set_xlim(left=max(shortest, 1 / 60))
    axes.set_ylim(0, 101)
    hours_on(axes)
    axes.set_xlabel("turnaround, from arrival to end")
    axes.set_ylabel("jobs finished within it (%)")
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, loc="lower right")
    return figure


def cluster(groups: Mapping[str, Sequence[Run]]) -> Figure:
    """How full the workers are and how long the queue is, over time."""
    figure = figure_of(8.0, 3.8 + 0.24 * len(groups))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(0.4 + 0.24 * len(groups), 2.4))
    strip = None
    for row, (policy, runs) in enumerate(groups.items()):
        drawn = timeline(runs[0].samples, runs[0].makespan, _POINTS)
        if not drawn.at:
            continue
        days = runs[0].makespan / 86400
        strip = above.imshow(
            [[100 * useful for useful in drawn.useful]],
            extent=(0.0, days, row + 0.4, row - 0.4),
            aspect="auto",
            cmap="cividis",
            vmin=0.0,
            vmax=100.0,
        )
        below.plot([at / 86400 for at in drawn.at], drawn.queued, **line(policy))
    if strip is not None:
        figure.colorbar(
            strip,
            ax=above,
            label="workers' speed in use (%)",
            ticks=[0, 50, 100],
            location="top",
            shrink=0.5,
            aspect=40,
        )
    above.set_yticks(range(len(groups)), list(groups))
    above.set_ylim(len(groups) - 0.5, -0.5)
    above.tick_params(length=0)
    above.spines[:].set_visible(False)
    below.set_ylim(bottom=0)
    below.set_ylabel("jobs in the queue")
    below.set_xlabel("days since the trace began")
    below.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    below.set_xlim(0, max((runs[0].makespan for runs in groups.values()), default=0) / 86400 or 1)
    below.spines[["top", "right"]].set_visible(False)
    if below.lines:
        below.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
