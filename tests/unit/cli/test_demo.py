"""The demo's parts; the whole of it runs in the end-to-end tests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fake_service import job
from rich.console import Console

from pando_cli.demo import recipe
from pando_cli.demo.result import Answer, DemoResult, DemoRow
from pando_cli.errors import UsageError

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "demo"

LORA = {"name": "pirate", "adapter": {"type": "lora"}, "hyperparameters": {"n_epochs": 1}}


def write(folder: Path, value: object) -> Path:
    (folder / "demo.json").write_text(json.dumps(value))
    return folder


def test_the_demo_of_the_repository_has_all_methods() -> None:
    jobs = recipe.load(EXAMPLES).jobs
    assert sorted(str(job.adapter["type"]) for job in jobs) == ["lora", "lora", "meft", "paca"]


def test_no_prompt_was_trained_on() -> None:
    found = recipe.load(EXAMPLES)
    for entry in found.jobs:
        text = recipe.data_file(found, entry).read_text()
        assert not any(prompt in text for prompt in found.prompts)


@pytest.mark.parametrize(
    "value", [{}, [], {"prompts": [], "jobs": [{}]}, {"jobs": [LORA]}, {"prompts": 3, "jobs": []}]
)
def test_a_folder_without_a_demo_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(UsageError, match="holds no demo"):
        recipe.load(write(tmp_path, value))


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pirate\.jsonl is missing"):
        recipe.load(write(tmp_path, {"prompts": ["Hello"], "jobs": [LORA]}))


def rows(home: Path) -> tuple[DemoRow, ...]:
    done = job(
        status="succeeded",
        fine_tuned_model="ft:tiny:default:pirate:1f",
        round_predicted_bytes=600 << 20,
        round_measured_bytes=550 << 20,
    )
    failed = job("ftjob-2", "failed", error={"code": "x", "message": "loss is not finite"})
    return (
        DemoRow.of("pirate", done, str(home / "adapters" / "pirate")),
        DemoRow.of("json", failed, None),
    )


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    answers = tuple(Answer("Hello?", name, "m", "Arr [bold]!") for name in ("base", "pirate"))
    result = DemoResult(str(tmp_path), "tiny", 12.0, rows(tmp_path), answers)
    printed = io.StringIO()
    Console(width=80, file=printed).print(result.as_text())
    text = printed.getvalue()
    line = next(line for line in text.splitlines() if line.startswith("pirate  lora"))
    for cell in ("2.500 → 1.250", "600.0 MiB", "550.0 MiB", "adapters/pirate"):
        assert cell in line
    assert "Arr [bold]!" in text
    assert "failed" in text


def test_failures_are_told_apart(tmp_path: Path) -> None:
    result = DemoResult(str(tmp_path), "tiny", 12.0, rows(tmp_path), ())
    assert [row.name for row in result.failed] == ["json"]
    assert result.failed[0].error == "loss is not finite"
    assert result.as_json()["jobs"][0]["measured_peak_bytes"] == 550 << 20
