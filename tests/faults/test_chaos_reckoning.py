"""The parts of the chaos run that reckon: what counts as recovered, right, and planned."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chaos.checkpoint_damage import corrupt, damage_newest, truncate
from chaos.faults import fail_over, fill_disk, kill, make_disk_read_only, planned
from chaos.observer import Seen
from chaos.recovery_times import Inflicted, by_kind, figures_of, recovery
from chaos.twins import difference
from chaos.verdict import wrong_steps

FAULT = Inflicted("kill", "worker-1-child", 100.0, 103.0, ("a", "b"))


def test_a_fault_is_over_when_the_last_affected_job_has_moved_on() -> None:
    found = recovery(FAULT, 103.5, {"a": [90.0, 104.0, 105.0], "b": [102.0, 111.0], "c": []}, ())
    assert (found.api_seconds, found.jobs_seconds, found.seconds) == (0.5, 8.0, 8.0)


def test_a_job_that_had_ended_before_needs_no_recovery() -> None:
    found = recovery(FAULT, 104.0, {"a": [90.0, 102.0], "b": [103.5]}, {"a"})
    assert (found.jobs_seconds, found.seconds) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("answered_at", "progress"), [(None, {"a": [104.0], "b": [104.0]}), (104.0, {"a": [], "b": []})]
)
def test_what_never_came_back_takes_for_ever(
    answered_at: float | None, progress: dict[str, list[float]]
) -> None:
    assert recovery(FAULT, answered_at, progress, ()).seconds == math.inf


def test_workers_share_a_row() -> None:
    other = replace(FAULT, target="worker-0-child")
    progress = {"a": [104.0], "b": [104.0]}
    rows = by_kind([recovery(each, 104.0, progress, ()) for each in (FAULT, other)])
    assert [(row.kind, row.count) for row in rows] == [("worker child kill", 2)]


def test_quantiles_are_of_what_was_measured() -> None:
    row = figures_of("all", [float(n) for n in range(1, 101)])
    assert (row.count, row.median, row.p95, row.longest) == (100, 50.0, 95.0, 100.0)


def test_every_kind_comes_in_turn() -> None:
    drawn = Counter(planned(200, random.Random(1), with_disk=True))
    assert sum(drawn.values()) == 200
    assert min(drawn.values()) >= 5
    assert drawn[kill] > 3 * drawn[fail_over]
    without = planned(200, random.Random(1), with_disk=False)
    assert not {fill_disk, make_disk_read_only} & set(without)


def view(status: str, step: int, finished_at: int | None = None) -> dict[str, object]:
    return {
        "status": status,
        "progress": {"step": step},
        "worker": "worker-0",
        "finished_at": finished_at,
        "fine_tuned_model": None,
        "error": None,
    }


def test_progress_is_data_checked_a_further_step_or_the_end() -> None:
    seen = Seen()
    life = [
        ("validating_files", 0),
        ("queued", 0),
        ("running", 0),
        ("running", 3),
        ("queued", 3),
        ("running", 3),
        ("running", 1),
        ("running", 2),
        ("succeeded", 2),
        ("succeeded", 2),
    ]
    for moment, (status, step) in enumerate(life):
        seen.take(view(status, step), float(moment))
    assert seen.progress_at == [1.0, 3.0, 7.0, 8.0]


def test_a_second_end_is_seen() -> None:
    seen = Seen()
    for status, finished_at in (("succeeded", 10), ("succeeded", 10), ("succeeded", 12)):
        seen.take(view(status, 5, finished_at), 0.0)
    assert len(seen.ends) == 2
    assert not seen.revived
    seen.take(view("running", 5), 0.0)
    assert seen.revived


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ((1, 2, 3), None),
        ((2, 3), None),
        ((1, 2, 2, 3), "steps [2] stand in its results more than once"),
        ((1, 2), "its results end at step [2], and it has 3"),
        ((), "its results end at step [], and it has 3"),
    ],
)
def test_results_have_each_step_once(steps: tuple[int, ...], wrong: str | None) -> None:
    assert wrong_steps("\n".join(["step", *map(str, steps)]), 3) == wrong


def test_the_difference_is_relative_to_the_twin() -> None:
    twin = {"b": np.array([3.0, 4.0], np.float32)}
    assert difference({"b": np.array([3.0, 4.5], np.float32)}, twin) == pytest.approx(0.1)
    assert difference(twin, twin) == 0.0
    assert difference({}, twin) == math.inf


@pytest.mark.parametrize("damage", [truncate, corrupt])
def test_only_the_newest_checkpoint_is_damaged(tmp_path: Path, damage: object) -> None:
    whole = bytes(range(256))
    for step in (1, 2):
        folder = tmp_path / "jobs" / "j" / "checkpoints" / f"step-{step}"
        folder.mkdir(parents=True)
        (folder / "state.safetensors").write_bytes(whole)
    (folder.parent / "step-3.ab.partial").mkdir()
    assert damage_newest(tmp_path, random.Random(1), damage)  # type: ignore[arg-type]
    assert (folder / "state.safetensors").read_bytes() != whole
    assert (folder.parent / "step-1" / "state.safetensors").read_bytes() == whole
    assert not damage_newest(tmp_path / "jobs", random.Random(1), damage)  # type: ignore[arg-type]
