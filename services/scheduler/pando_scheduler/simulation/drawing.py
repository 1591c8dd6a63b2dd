"""What all drawings share: colours, marks, and matplotlib itself, loaded when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pando_shared.errors import Unavailable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that readers who see few of them tell apart (Okabe and Ito), and line styles beside them.
_LINES: Mapping[str, tuple[str, str]] = {
    "pando": ("#0072B2", "-"),
    "fifo-fused": ("#D55E00", "-"),
    "fifo-one": ("#E69F00", "--"),
    "minpad": ("#CC79A7", "-."),
    "sjf": ("#009E73", "-"),
    "priority": ("#56B4E9", "--"),
    "las": ("#009E73", ":"),
    "srpt-oracle": ("#000000", "--"),
}
_OTHERS = ("#666666", "-")


def line(policy: str) -> dict[str, Any]:
    """How the line of a policy is drawn, wherever it is."""
    colour, style = _LINES.get(policy, _OTHERS)
    width = 2.2 if policy == "pando" else 1.4
    return {
        "label": policy,
        "color": colour,
        "linestyle": style,
        "linewidth": width,
        "zorder": 3 if policy == "pando" else 2,
    }


def hours_on(axes: Axes) -> None:
    """Times that people know as marks of a logarithmic axis of hours."""
    marks = {
        1 / 60: "1 min",
        1 / 6: "10 min",
        1.0: "1 h",
        4.0: "4 h",
        24.0: "1 d",
        168.0: "1 week",
        720.0: "30 d",
    }
    low, high = axes.get_xlim()
    shown = {hour: label for hour, label in marks.items() if low <= hour <= high}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.set_xticks([], minor=True)


def figure_of(width: float, height: float) -> Figure:
    """An empty drawing, in inches. It belongs to no window and no global state.

    Raises:
        Unavailable: matplotlib is not installed; says how to install it.
    """
    load_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def load_matplotlib() -> Any:
    """Raises Unavailable, which says how to install it, where it is missing."""
    try:
        import matplotlib
    except ImportError:
        raise Unavailable(
            "plots are drawn by matplotlib, which is not installed: "
            "pip install 'pando-scheduler[plots]'"
        ) from None
    return matplotlib
