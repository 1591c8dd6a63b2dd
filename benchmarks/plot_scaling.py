"""Draw tokens/s over the number of jobs, beside the limit, from `train_throughput.py`'s rows.

    python benchmarks/plot_scaling.py ROWS.json docs/images/scaling.svg [--setting 256x4-v512]

Needs matplotlib, which nothing else here does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

try:
    from matplotlib import pyplot
except ImportError:
    raise SystemExit("matplotlib draws the plot: pip install matplotlib") from None

#: Distinct for readers who see few colours, and in print.
OURS, THEIRS, LIMIT = "#0072B2", "#D55E00", "#666666"


def draw(rows: list[dict], target: Path) -> None:
    """One line a side, with the spread of its repeats, and the limit by count."""
    jobs = [row["jobs"] for row in rows]
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for side, label, colour in (
        ("pando", "Pando, together", OURS),
        ("peft", "peft, one after another", THEIRS),
    ):
        speed = [row[f"{side}_tokens_per_second"] for row in rows]
        axes.plot(jobs, speed, marker="o", color=colour, label=label)
        axes.annotate(
            f"{speed[-1]:,.0f}",
            (jobs[-1], speed[-1]),
            textcoords="offset points",
            xytext=(0, 7),
            ha="right",
            color=colour,
        )
    limit = [row["limit_tokens_per_second"] for row in rows]
    axes.plot(jobs, limit, linestyle="--", color=LIMIT, label="limit: products at full speed")
    axes.set_xscale("log", base=2)
    axes.set_xticks(jobs, [str(n) for n in jobs])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("LoRA jobs of rank 16 on one base")
    axes.set_ylabel("real tokens a second")
    axes.set_title(f"{rows[0]['setting']}, {rows[0]['threads']} CPU threads")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--setting", default="256x4-v512")
    options = parser.parse_args()
    rows = [r for r in json.loads(options.rows.read_text()) if r["setting"] == options.setting]
    if not rows:
        raise SystemExit(f"{options.rows} has no rows of {options.setting}")
    draw(sorted(rows, key=lambda row: row["jobs"]), options.target)
    print(f"{options.target}: {len(rows)} numbers of jobs")


if __name__ == "__main__":
    main()
