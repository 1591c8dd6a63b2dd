"""Token files and checkpoints come from any storage, and only what is needed stays here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_job
from fsspec.implementations.memory import MemoryFileSystem
from worker_world import write_token_file

from pando_shared import layout
from pando_shared.errors import TrainingFailed
from pando_shared.storage import Storage
from pando_worker.job_data import forget_copies, prune_checkpoints, training_job
from tiny_models import random_sequences


@pytest.fixture(params=["local", "remote"])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A folder, and an object store: one that has no files of its own on this machine."""
    if request.param == "local":
        yield Storage(f"file://{tmp_path}/storage")
        return
    yield Storage("memory://pando")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def job(any_storage: Storage, tmp_path: Path):
    """A job with prepared training and validation data in storage."""
    job = make_job()
    for split, seed in (("train", 1), ("valid", 2)):
        write_token_file(tmp_path / split, random_sequences(seed, 5))
        any_storage.upload_folder(tmp_path / split, layout.tokens(job.id, split))
    return replace(job, spec=replace(job.spec, validation_file="file-2"))


def assert_holds(sequences, expected) -> None:
    assert len(sequences) == len(expected)
    for index in range(len(expected)):
        for ours, theirs in zip(sequences.sequence(index), expected.sequence(index), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_data_is_what_was_prepared(job, any_storage, tmp_path):
    training = training_job(job, any_storage, tmp_path / "cache")
    assert_holds(training.train, random_sequences(1, 5))
    assert_holds(training.valid, random_sequences(2, 5))
    assert training.plan.steps_per_epoch == 5


def test_without_a_validation_file_there_is_none(job, any_storage, tmp_path):
    job = replace(job, spec=replace(job.spec, validation_file=None))
    assert training_job(job, any_storage, tmp_path / "cache").valid is None


def test_copies_are_made_once_and_forgotten(job, any_storage, tmp_path):
    cache = tmp_path / "cache"
    for _ in range(2):
        training_job(job, any_storage, cache)
    remote = any_storage.local_path("x") is None
    assert (cache / layout.tokens(job.id, "train")).exists() is remote
    forget_copies(job.id, cache)
    assert not (cache / layout.job(job.id)).exists()
    assert any_storage.exists(layout.tokens(job.id, "train"))


def test_a_copy_broken_off_is_made_anew(job, any_storage, tmp_path):
    cache = tmp_path / "cache"
    partial = cache / f"{layout.tokens(job.id, 'train')}.partial"
    partial.mkdir(parents=True)
    (partial / "tokens.npy").write_bytes(b"half a f")
    assert_holds(training_job(job, any_storage, cache).train, random_sequences(1, 5))


def test_data_that_is_gone_is_told(job, any_storage, tmp_path):
    any_storage.delete(layout.tokens(job.id, "valid"))
    with pytest.raises(TrainingFailed, match=r"gone or damaged.*submit it again") as caught:
        training_job(job, any_storage, tmp_path / "cache")
    assert caught.value.code == "data_missing"


def test_pruning_keeps_the_newest(any_storage):
    for step in (5, 40, 300, 1200, 999):
        name = layout.checkpoint_name(step, epoch=3)
        any_storage.write(f"{layout.checkpoint('ftjob-1', name)}/manifest.json", b"{}")
    prune_checkpoints("ftjob-1", any_storage)
    kept = any_storage.names(layout.checkpoints("ftjob-1"))
    assert kept == ["step-00000999-000003", "step-00001200-000003"]
    prune_checkpoints("ftjob-2", any_storage)
