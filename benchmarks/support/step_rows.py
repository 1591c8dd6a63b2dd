"""The rows of measured training steps, and their tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reporting import table

FROZEN = "no adapter"


@dataclass(frozen=True, slots=True)
class Row:
    """One side's speed on one setting.

    flops_share is the counted FLOPs' rate, of that of a product of large matrices; frozen_share
    the speed, of that of the same data through the base alone. peak_bytes are of one process.
    """

    section: str
    side: str
    name: str
    jobs: int
    tokens_per_second: float | None = None
    flops_per_second: float | None = None
    flops_share: float | None = None
    frozen_share: float | None = None
    peak_bytes: int | None = None
    settings: str = ""
    failure: str | None = None


def speed_table(rows: Iterable[Row]) -> str:
    return table(
        ("setting", "tok/s", "TFLOP/s", "% of peak", "% of frozen", "peak GB", "how"),
        (
            (
                f"{row.section}: {row.side}, {row.name}",
                row.tokens_per_second,
                _scaled(row.flops_per_second, 1e-12),
                _scaled(row.flops_share, 100),
                _scaled(row.frozen_share, 100),
                _scaled(row.peak_bytes, 1e-9),
                (row.failure or row.settings)[:60],
            )
            for row in rows
        ),
    )


def ratios_table(rows: Iterable[Row]) -> str:
    """Our jobs together against the same jobs one after another, in the way that is quickest.

    In PaCA's setting, against each LoRA of peft's.
    """
    rows = [row for row in rows if row.tokens_per_second and row.section != "memory"]
    lines = []
    for ours in (row for row in rows if row.side == "pando" and row.name != FROZEN):
        peers = [
            row
            for row in rows
            if row.side == "peft" and (row.section, row.jobs) == (ours.section, ours.jobs)
        ]
        if peers and ours.section != "paca":
            peers = [max(peers, key=lambda row: row.tokens_per_second or 0.0)]
        for theirs in peers:
            name = f"{ours.section}: {ours.name} / {theirs.name}, {theirs.settings}"
            lines.append((name, (ours.tokens_per_second or 0) / (theirs.tokens_per_second or 1)))
    return table(("times the speed of peft, job after job", "ratio"), lines)


def memory_table(rows: Iterable[Row], jobs: int) -> str:
    """Jobs together in one process against as many processes of one job each."""
    lines = [
        (
            f"{row.side}, {row.settings or row.name}",
            _scaled(row.peak_bytes, 1e-9),
            1 if row.side == "pando" else jobs,
            _scaled(row.peak_bytes, 1e-9 * (1 if row.side == "pando" else jobs)),
        )
        for row in rows
        if row.jobs == jobs and row.section in ("gsm8k", "memory") and "LoRA" in row.name
    ]
    return table((f"memory of {jobs} LoRA jobs", "GB a process", "processes", "GB"), lines)


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by
