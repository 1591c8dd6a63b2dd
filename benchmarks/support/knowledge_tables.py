"""The knowledge study's result as tables: for a terminal, and for a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reporting import table

_HEADS = ("method", "trained", "GPU bytes", "no cache", "step", "few", "many", "rate")


def printed(result: Mapping[str, Any]) -> str:
    """Aligned columns."""
    return table(_HEADS, (_cells(row) for row in result["rows"]))


def markdown(result: Mapping[str, Any]) -> str:
    """The same as a Markdown table."""
    few, many = (result["lessons"][data]["people"] * 8 for data in ("few", "many"))
    heads = (
        "method",
        "trained",
        "GPU bytes",
        "without a cache",
        "step, × LoRA r = 8",
        f"of {few:,} facts",
        f"of {many:,} facts",
        "rate",
    )
    lines = [heads, ("---",) * len(heads), *(_cells(row) for row in result["rows"])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    apart = row["gpu_bytes_without_cache"] != row["gpu_bytes"]
    return (
        row["label"],
        f"{row['parameters']:,}",
        _megabytes(row["gpu_bytes"]),
        _megabytes(row["gpu_bytes_without_cache"]) if apart else "",
        f"{row['step_ratio']:.2f}",
        _percent(row["few"]["accuracies"]),
        _percent(row["many"]["accuracies"]),
        f"{row['many']['rate']:g}",
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"


def _percent(accuracies: Sequence[float]) -> str:
    """The mean, and how far the seeds lie from it."""
    mean = sum(accuracies) / len(accuracies)
    spread = max(abs(found - mean) for found in accuracies)
    return f"{100 * mean:.1f} ± {100 * spread:.1f} %"
