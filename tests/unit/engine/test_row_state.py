"""Checkpoints of sparse rows hold what changed, and together they are the whole."""

from __future__ import annotations

import json

import pytest
from engine_jobs import make_job, steps_of
from safetensors.torch import load_file

from pando_shared.adapters import MeftConfig
from pando_shared.errors import TrainingFailed
from pando_worker.engine.base_model import load_base
from pando_worker.engine.checkpoint import (
    parameters_digest,
    read_manifest,
    restore_checkpoint,
    save_checkpoint,
    snapshot,
)
from pando_worker.engine.engine import Engine
from tiny_models import random_sequences

#: Few of many rows are touched by a step.
MEFT = MeftConfig(num_keys=1024, top_k=2, num_experts=64, num_probes=1)


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


def subject(config=MEFT):
    return make_job("j", config, random_sequences(5, 12), batch_size=1, max_steps=40, seed=3)


@pytest.fixture
def trained(base, tmp_path):
    """`trained(*steps)`: an engine whose job was checkpointed at these steps, and the folders."""

    def train(*steps):
        engine = Engine(base, 150)
        resident = engine.join(subject())
        folders = []
        for step in steps:
            steps_of(engine, ["j"], until=step)
            state = snapshot(resident)
            folders.append(tmp_path / str(step))
            save_checkpoint(state, folders[-1])
            resident.kept = state.manifest.kept(str(step))
        return resident, folders

    return train


def rows_in(folder) -> list[int]:
    files = sorted(folder.glob("rows-*.safetensors"))
    return [len(load_file(file)["rows"]) for file in files]


def test_the_first_holds_all_rows_and_the_next_those_that_changed(trained):
    resident, (first, second, third) = trained(3, 4, 6)
    rows = resident.adapter.memory.rows
    assert rows_in(first) == [1024, 1024]
    assert all(0 < rows < 200 for rows in rows_in(second))
    assert rows_in(third) == [int((at > 4).sum()) for at in rows.changed_at]
    assert [read_manifest(f).since for f in (first, second, third)] == [None, "3", "4"]
    assert sum(f.stat().st_size for f in third.iterdir()) < 0.4 * sum(
        f.stat().st_size for f in first.iterdir()
    )


def test_a_chain_restores_every_bit(base, trained):
    resident, folders = trained(3, 4, 6, 7)
    restored = Engine(base, 150).join(subject())
    restore_checkpoint(restored, *reversed(folders))
    assert parameters_digest(restored) == parameters_digest(resident)
    assert (restored.step, restored.kept) == (7, resident.kept)


def test_training_on_from_a_chain_changes_no_bit(base, trained, tmp_path):
    _, folders = trained(3, 4, 6)
    straight = Engine(base, 150)
    straight.join(subject())
    steps_of(straight, ["j"], until=12)
    engine = Engine(base, 150)
    resumed = engine.join(subject())
    restore_checkpoint(resumed, *reversed(folders))
    steps_of(engine, ["j"], until=9)
    save_checkpoint(snapshot(resumed), tmp_path / "9")
    assert read_manifest(tmp_path / "9").since == "6"
    again = Engine(base, 150)
    last = again.join(subject())
    restore_checkpoint(last, tmp_path / "9", *reversed(folders))
    steps_of(again, ["j"], until=12)
    assert parameters_digest(last) == parameters_digest(straight.jobs["j"])


def test_once_a_chain_has_written_everything_again_it_starts_anew(trained):
    _, folders = trained(*range(1, 30))
    manifests = [read_manifest(folder) for folder in folders]
    alone = [m.step for m in manifests if m.since is None]
    assert alone[0] == 1
    assert len(alone) > 1
    assert all(0 < m.share < 1 for m in manifests if m.since is not None)


def test_a_write_that_failed_is_made_up_for(base, tmp_path):
    """What a lost checkpoint held is in the next one."""
    engine = Engine(base, 150)
    resident = engine.join(subject())
    steps_of(engine, ["j"], until=2)
    state = snapshot(resident)
    save_checkpoint(state, tmp_path / "2")
    resident.kept = state.manifest.kept("2")
    steps_of(engine, ["j"], until=3)
    snapshot(resident)  # nobody writes it
    steps_of(engine, ["j"], until=4)
    save_checkpoint(snapshot(resident), tmp_path / "4")
    restored = Engine(base, 150).join(subject())
    restore_checkpoint(restored, tmp_path / "4", tmp_path / "2")
    assert parameters_digest(restored) == parameters_digest(resident)


def test_a_chain_with_a_gap_is_refused(base, trained):
    _, folders = trained(3, 4, 6)
    for some in ((folders[2],), (folders[2], folders[0]), (folders[1], folders[1])):
        restored = Engine(base, 150).join(subject())
        fresh = parameters_digest(restored)
        with pytest.raises(TrainingFailed) as caught:
            restore_checkpoint(restored, *some)
        assert caught.value.code == "checkpoint_damaged"
        assert parameters_digest(restored) == fresh


@pytest.mark.parametrize("name", ["rows-00000.safetensors", "rows-00001.safetensors"])
def test_a_damaged_file_of_rows_is_found(base, trained, name):
    _, (folder,) = trained(3)
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(TrainingFailed) as caught:
        restore_checkpoint(Engine(base, 150).join(subject()), folder)
    assert caught.value.code == "checkpoint_damaged"


def test_rows_of_another_configuration_are_refused(base, trained):
    _, (folder,) = trained(3)
    other = MeftConfig(num_keys=512, top_k=2, num_experts=64, num_probes=1)
    restored = Engine(base, 150).join(subject(other))
    fresh = parameters_digest(restored)
    with pytest.raises(TrainingFailed) as caught:
        restore_checkpoint(restored, folder)
    assert caught.value.code == "checkpoint_mismatch"
    assert parameters_digest(restored) == fresh


def test_the_manifest_names_every_file(trained):
    _, (folder,) = trained(1)
    named = json.loads((folder / "manifest.json").read_text())["files"]
    found = {file.name for file in folder.iterdir()} - {"manifest.json"}
    assert set(named) == found
