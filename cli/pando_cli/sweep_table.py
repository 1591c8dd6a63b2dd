"""Sweeps and their trials as people like to read them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from pando_cli.ended import ended
from pando_cli.rendering import JsonObject, age, list_table, number, state


def trials_table(sweep: JsonObject) -> Table:
    """The trials, the best first; those without a rank as the grid has them."""
    table = list_table(
        "trial", "values", numbers=("rank", "status", "step", "rung losses", "valid loss")
    )
    for trial in sorted(sweep["trials"], key=lambda trial: trial["rank"] or math.inf):
        total = trial["total_steps"]
        table.add_row(
            trial["job_id"],
            values_text(trial["values"]),
            str(trial["rank"] or "-"),
            state(trial["status"]),
            f"{trial['step']}/{total}" if total else "-",
            " ".join(map(number, trial["rung_losses"])) or "-",
            number(trial["valid_loss"]),
        )
    return table


def sweeps_table(sweeps: Sequence[JsonObject]) -> Table:
    table = list_table("sweep", "best so far", numbers=("model", "status", "ended", "loss", "age"))
    for sweep in sweeps:
        trials = sweep["trials"]
        best = best_trial(sweep)
        table.add_row(
            sweep["id"],
            values_text(best["values"]) if best else "-",
            sweep["model"],
            state(sweep["status"]),
            f"{sum(ended(trial) for trial in trials)}/{len(trials)}",
            number(best["valid_loss"] if best else None),
            age(sweep["created_at"]),
        )
    return table


def best_trial(sweep: JsonObject) -> JsonObject | None:
    return next((t for t in sweep["trials"] if t["job_id"] == sweep["best_job_id"]), None)


def values_text(values: JsonObject) -> str:
    """{"learning_rate": 0.0001, "adapter.rank": 8} -> learning_rate=0.0001 adapter.rank=8"""
    return " ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
