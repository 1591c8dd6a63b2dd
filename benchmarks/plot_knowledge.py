"""Draw how many facts each method holds, over GPU bytes and over step time, from `knowledge.py`.

    python benchmarks/plot_knowledge.py benchmarks/results/knowledge.json docs/images/knowledge.svg

Needs matplotlib, as `plot_scaling.py` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

try:
    import matplotlib
    from matplotlib import pyplot
except ImportError:
    raise SystemExit("matplotlib draws the plot: pip install matplotlib") from None

#: Colour and marker, distinct for readers who see few colours, and in print.
STYLES = {
    "LoRA": ("#0072B2", "o"),
    "PaCA": ("#009E73", "s"),
    "dense": ("#666666", "^"),
    "MEFT": ("#D55E00", "D"),
}
#: Where names stand beside their points, in points: those of PaCA to the left, of MEFT above.
OFFSETS = {"LoRA": (5, -10), "PaCA": (-5, -10), "dense": (5, -10), "MEFT": (0, 13)}
SIDES = {"LoRA": "left", "PaCA": "right", "dense": "left", "MEFT": "center"}
LINE = 8
NAMES = {"dense": "dense parallel adapter"}

Row = Mapping[str, Any]


def draw(result: Mapping[str, Any], target: Path) -> None:
    """Two panels with the same points: the harder lesson's accuracy, means and their range."""
    # The same drawing gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "knowledge"
    figure, (by_bytes, by_time) = pyplot.subplots(
        1, 2, figsize=(9.6, 4.2), sharey=True, layout="constrained"
    )
    rows = result["rows"]
    _panel(by_bytes, rows, lambda row: row["gpu_bytes"] / 1e6)
    for row in rows:
        if row["gpu_bytes_without_cache"] != row["gpu_bytes"]:
            _reach(by_bytes, row)
    by_bytes.set_xscale("log")
    by_bytes.set_xlabel("MB on the GPU (hollow: MEFT without a cache)")
    lesson = result["lessons"]["many"]
    by_bytes.set_ylabel(f"% of {lesson['people'] * 8:,} facts after {lesson['epochs']} epochs")
    _panel(by_time, rows, lambda row: row["step_ratio"])
    by_time.set_xlim(left=0)
    by_time.set_xlabel("CPU seconds a step, × LoRA of rank 8")
    by_bytes.legend(frameon=False, loc="lower right")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def _panel(axes: Any, rows: list[Row], place: Callable[[Row], float]) -> None:
    for family, (colour, marker) in STYLES.items():
        found = [row for row in rows if row["family"] == family]
        x = [place(row) for row in found]
        y = [100 * row["many"]["mean"] for row in found]
        low = [
            mean - 100 * min(row["many"]["accuracies"]) for mean, row in zip(y, found, strict=True)
        ]
        high = [
            100 * max(row["many"]["accuracies"]) - mean for mean, row in zip(y, found, strict=True)
        ]
        axes.errorbar(
            x,
            y,
            yerr=(low, high),
            color=colour,
            marker=marker,
            linestyle="none" if family == "MEFT" else "-",
            linewidth=0.8,
            label=NAMES.get(family, family),
        )
        across, down = OFFSETS[family]
        for index, (row, left, top) in enumerate(zip(found, x, y, strict=True)):
            # MEFT of one M and several k lie close together: their names go one above the other.
            lines = sum(abs(top - other) < 5 for other in y[:index]) if family == "MEFT" else 0
            axes.annotate(
                row["label"].split(", ", 1)[1].replace(" = ", "="),
                (left, top),
                textcoords="offset points",
                xytext=(across, down + LINE * lines),
                ha=SIDES[family],
                fontsize=7,
                color=colour,
            )
    axes.set_ylim(0, 122)
    axes.set_yticks(range(0, 101, 20))
    axes.spines[["top", "right"]].set_visible(False)


def _reach(axes: Any, row: Row) -> None:
    """From what MEFT takes with all rows in its cache down to what it cannot do without."""
    colour, marker = STYLES["MEFT"]
    ends = [row["gpu_bytes_without_cache"] / 1e6, row["gpu_bytes"] / 1e6]
    height = 100 * row["many"]["mean"]
    axes.plot(ends, [height] * 2, color=colour, linestyle=":", linewidth=1)
    axes.plot(ends[:1], [height], color=colour, marker=marker, markerfacecolor="none")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    result = json.loads(options.result.read_text())
    draw(result, options.target)
    print(f"{options.target}: {len(result['rows'])} adapters")


if __name__ == "__main__":
    main()
