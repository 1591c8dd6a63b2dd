"""How service is shared among tenants, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pando_scheduler.simulation.drawing import figure_of
from pando_scheduler.simulation.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Told apart by readers who see few colours (Okabe and Ito); the rest is grey.
_TENANTS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
_REST = "#BBBBBB"


def tenants(groups: Mapping[str, Sequence[Run]]) -> Figure:
    """How service is shared: all of it, and for each hour that a tenant had work."""
    figure = figure_of(7.2, 1.6 + 0.42 * len(groups))
    left, right = figure.subplots(1, 2, sharey=True)
    service = {policy: _service(runs[0]) for policy, runs in groups.items()}
    rates = {policy: _rates(runs[0]) for policy, runs in groups.items()}
    names = _largest(service)
    for axes, amounts in ((left, service), (right, rates)):
        _stack(axes, amounts, names)
        axes.set_xlim(0, 100)
        axes.spines[["left", "top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    left.set_xlabel("of all service (%)")
    right.set_xlabel("of service per hour with work (%)")
    left.invert_yaxis()
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, loc="outside upper center", ncols=5, title="tenant"
    )
    return figure


def _stack(axes: Axes, amounts: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    policies = list(amounts)
    begun = [0.0] * len(policies)
    rest = [name for own in amounts.values() for name in own if name not in names]
    layers = [(name, [name], colour) for name, colour in zip(names, _TENANTS, strict=False)]
    if rest:
        others = sorted(set(rest))
        layers.append((f"{len(others)} others", others, _REST))
    for label, members, colour in layers:
        shares = [
            100 * sum(own.get(name, 0.0) for name in members) / (sum(own.values()) or 1.0)
            for own in amounts.values()
        ]
        axes.barh(
            policies, shares, 0.72, begun, color=colour, label=label, edgecolor="w", linewidth=0.6
        )
        begun = [at + share for at, share in zip(begun, shares, strict=True)]


def _largest(service: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The tenants served most, over all policies: as many as there are colours."""
    totals: dict[str, float] = {}
    for own in service.values():
        for name, amount in own.items():
            totals[name] = totals.get(name, 0.0) + amount
    return sorted(totals, key=lambda name: (-totals[name], name))[: len(_TENANTS)]


def _service(run: Run) -> dict[str, float]:
    return {name: account.service for name, account in run.tenants.items()}


def _rates(run: Run) -> dict[str, float]:
    return {
        name: account.service / account.backlogged
        for name, account in run.tenants.items()
        if account.backlogged > 0
    }
