"""A MEFT job's checkpoints in storage hold what changed, and none loses what it builds on."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from worker_world import CHECKPOINT_SECONDS, World

from pando_shared import layout
from pando_shared.adapters import MeftConfig
from pando_shared.jobs import JobState
from pando_worker.engine.checkpoint import save_checkpoint, training_state

#: Few of many rows are touched by a step.
MEFT = MeftConfig(num_keys=1024, top_k=2, num_experts=64, num_probes=1)
DUE = int(CHECKPOINT_SECONDS)
LONG = {"batch_size": 1, "n_epochs": 100, "learning_rate": 1e-3}


def manifest(world: World, job_id: str, step: int) -> dict:
    return json.loads(world.storage.read(f"{world.checkpoint(job_id, step)}/manifest.json"))


def name(world: World, job_id: str, step: int) -> str:
    return world.checkpoint(job_id, step).rsplit("/", 1)[1]


def size(world: World, job_id: str, step: int) -> int:
    at = world.checkpoint(job_id, step)
    return sum(world.storage.size(f"{at}/{name}") for name in world.storage.names(at))


@pytest.fixture
def expected(world: World) -> bytes:
    """The adapter of a job that nothing disturbed."""
    undisturbed = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    world.round(undisturbed)
    return world.exported(undisturbed)


def test_checkpoints_are_small_and_keep_what_they_build_on(world: World):
    job_id = world.submit(MEFT, **LONG)
    world.round(job_id, seconds=4 * DUE + 1)
    steps = world.checkpoint_steps(job_id)
    assert len(steps) == 4
    assert manifest(world, job_id, steps[0])["since"] is None
    for before, step in pairwise(steps):
        assert manifest(world, job_id, step)["since"] == name(world, job_id, before)
        assert size(world, job_id, step) < size(world, job_id, steps[0])


def test_what_no_later_one_builds_on_is_deleted(world: World):
    job_id = world.submit(MEFT, **LONG)
    world.settings.checkpoint_seconds = 2.0
    world.round(job_id, seconds=81)
    steps = world.checkpoint_steps(job_id)
    assert 2 <= len(steps) <= 16 + 2 < 40
    assert manifest(world, job_id, steps[0])["since"] is None


def test_killed_it_goes_on_from_a_chain_to_the_bit(world: World, expected: bytes):
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    world.round(job_id, seconds=3 * DUE + 2)
    last = world.checkpoint_steps(job_id)[-1]
    assert manifest(world, job_id, last)["since"] is not None
    world.start_worker()
    world.place(job_id)
    world.round(job_id, seconds=DUE + 1)
    assert f"Training resumed from step {last} on" in " ".join(world.messages(job_id))
    world.start_worker()
    world.place(job_id)
    world.round(job_id)
    assert world.job(job_id).state is JobState.SUCCEEDED
    assert world.exported(job_id) == expected


def test_released_and_taken_up_again_it_is_the_same_to_the_bit(world: World, expected: bytes):
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    for _ in range(4):
        world.round(job_id, seconds=DUE - 1)
        world.round()  # without it: it leaves by checkpoint
        world.place(job_id)
    world.round(job_id)
    assert world.exported(job_id) == expected


def test_released_at_a_step_that_is_kept_it_is_not_written_again(world: World, expected: bytes):
    """A checkpoint never builds on itself."""
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    world.round(job_id, seconds=DUE)
    world.background.run()
    assert world.checkpoint_steps(job_id) == [DUE]
    world.round(seconds=1)  # without it: it leaves by checkpoint, at the same step
    assert world.checkpoint_steps(job_id) == [DUE]
    assert manifest(world, job_id, DUE)["since"] is None
    world.start_worker()
    world.place(job_id)
    world.round(job_id)
    assert f"Training resumed from step {DUE} on" in " ".join(world.messages(job_id))
    assert world.exported(job_id) == expected


def test_a_worker_that_lost_the_job_writes_over_nobodys_checkpoint(world: World, expected: bytes):
    """It was in the middle of its upload when another took over and kept the same step."""
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    world.round(job_id, seconds=DUE)
    stale = training_state(world.host.engine.jobs[job_id])
    old_epoch = world.job(job_id).epoch
    world.round(job_id, seconds=DUE + 2)
    world.start_worker()
    world.place(job_id)
    world.round(job_id, seconds=DUE)
    steps = world.checkpoint_steps(job_id)
    late = replace(stale, manifest=replace(stale.manifest, step=steps[-1], since="pruned-long-ago"))
    at = layout.checkpoint(job_id, layout.checkpoint_name(steps[-1], old_epoch - 1))
    with TemporaryDirectory() as scratch:
        save_checkpoint(late, Path(scratch) / "late")
        world.storage.upload_folder(Path(scratch) / "late", at)
    world.start_worker()
    world.place(job_id)
    world.round(job_id)
    assert f"Training resumed from step {steps[-1]} on" in " ".join(world.messages(job_id))
    assert world.exported(job_id) == expected


def test_a_write_that_failed_is_made_up_for(world: World, expected: bytes, monkeypatch):
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    upload, uploads = world.storage.upload_folder, []

    def sometimes(local, path):
        if "checkpoints" in path:
            uploads.append(path)
            if len(uploads) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        upload(local, path)

    monkeypatch.setattr(world.storage, "upload_folder", sometimes)
    world.round(job_id, seconds=3 * DUE + 1)
    steps = world.checkpoint_steps(job_id)
    assert len(uploads) == 3
    assert manifest(world, job_id, steps[-1])["since"] == name(world, job_id, steps[0])
    world.start_worker()
    world.place(job_id)
    world.round(job_id)
    assert world.exported(job_id) == expected


def test_a_damaged_link_sends_it_back_to_what_is_whole(world: World, expected: bytes):
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    world.round(job_id, seconds=3 * DUE + 1)
    first, second, _third = world.checkpoint_steps(job_id)
    world.storage.write(f"{world.checkpoint(job_id, second)}/rows-00001.safetensors", b"no")
    world.start_worker()
    world.place(job_id)
    world.round(job_id)
    assert f"Training resumed from step {first} on" in " ".join(world.messages(job_id))
    assert world.exported(job_id) == expected


def test_a_disk_without_room_for_the_rows_fails_the_job(world: World, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    world.settings = world.settings.model_copy(update={"rows_dir": tmp_path / "rows"})
    world.start_worker()
    monkeypatch.setattr("os.posix_fallocate", full)
    job_id = world.submit(MEFT)
    world.round(job_id)
    job = world.job(job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "rows_disk_full"
    assert "num_keys" in job.error.message
    assert world.resident() == set()


def test_rows_on_a_disk_give_the_same_adapter(world: World, expected: bytes, tmp_path):
    world.settings = world.settings.model_copy(update={"rows_dir": tmp_path / "rows"})
    world.start_worker()
    job_id = world.submit(MEFT, **LONG, max_steps=5 * DUE)
    world.round(job_id)
    assert world.exported(job_id) == expected
    assert list((tmp_path / "rows").iterdir()) == []


def test_what_a_killed_process_had_on_its_way_is_removed(world: World):
    left = world.host.cache / "pando-0123abcd" / "checkpoint"
    left.mkdir(parents=True)
    (left / "rows-00000.safetensors").write_bytes(b"half of it")
    world.start_worker()
    assert list(world.host.cache.glob("pando-*")) == []
