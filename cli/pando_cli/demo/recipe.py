"""What the demo trains: four data sets, each with the method that learns it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pando_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class DemoJob:
    """`name` is the data file's stem and becomes the adapter's suffix."""

    name: str
    adapter: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`prompts` are asked of the base and of every adapter."""

    folder: Path
    jobs: tuple[DemoJob, ...]
    prompts: tuple[str, ...]


def load(folder: Path) -> Recipe:
    """The recipe in `demo.json`, beside the data files it names.

    Raises:
        UsageError: the folder lacks the recipe or one of the data files.
    """
    try:
        text = (folder / "demo.json").read_text(encoding="utf-8")
        fields = json.loads(text)
        jobs = tuple(
            DemoJob(job["name"], job["adapter"], job["hyperparameters"]) for job in fields["jobs"]
        )
        recipe = Recipe(folder, jobs, tuple(fields["prompts"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no demo: {error}",
            hint="The demo's data lies in examples/demo of a source checkout; name it with --data.",
        ) from error
    for job in jobs:
        if not data_file(recipe, job).is_file():
            raise UsageError(f"the demo's data file {data_file(recipe, job)} is missing")
    return recipe


def data_file(recipe: Recipe, job: DemoJob) -> Path:
    return recipe.folder / f"{job.name}.jsonl"
