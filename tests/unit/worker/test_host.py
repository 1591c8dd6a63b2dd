"""The base that a worker loads is in the form that it was told to hold it in."""

from __future__ import annotations

import pytest
import torch
from worker_world import BASE, World

from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.int8_weight import Int8Weight
from pando_kernels.nf4_weight import Nf4Weight
from pando_shared.base_format import BaseFormat
from pando_shared.jobs import JobState


@pytest.mark.parametrize(
    ("dtype", "kind", "held", "computed"),
    [
        ("bfloat16", DenseWeight, BaseFormat("bfloat16", "dense"), torch.bfloat16),
        ("nf4", Nf4Weight, BaseFormat("float32", "nf4"), torch.float32),
        ("int8", Int8Weight, BaseFormat("float32", "int8"), torch.float32),
    ],
)
def test_a_base_is_held_as_told(world: World, dtype, kind, held, computed):
    world.settings = world.settings.model_copy(update={"dtype": dtype})
    world.start_worker()
    base = world.host.use_base(BASE).base
    assert {type(group.weight) for group in base.groups} == {kind}
    assert base.dtype == computed
    (told,) = world.store.list_workers()
    assert told.base_format == held
    assert told.resident_bytes > 0


def test_a_job_trains_on_a_base_in_nf4(world: World):
    world.settings = world.settings.model_copy(update={"dtype": "nf4"})
    world.start_worker()
    job = world.submit()
    world.round(job)
    assert world.job(job).state is JobState.SUCCEEDED


@pytest.mark.parametrize(("device", "chosen"), [("cuda:0", [0]), ("cuda:1", [1]), ("cpu", [])])
def test_a_workers_own_gpu_is_the_current_one(world: World, monkeypatch, device, chosen):
    """Triton launches on the current device, which is the first unless somebody says otherwise."""
    made_current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", made_current.append)
    monkeypatch.setattr(torch.cuda, "get_device_name", "Tesla of {}".format)
    world.settings = world.settings.model_copy(update={"device": device, "memory_bytes": 1 << 30})
    host = world.start_worker()
    assert host.device == device
    assert host.worker.device_kind == ("cpu" if device == "cpu" else f"Tesla of {device}")
    assert made_current == chosen


@pytest.mark.parametrize(("gpus", "share"), [(0, 800), (1, 800), (4, 200)])
def test_gpus_share_the_memory_of_their_host(world: World, monkeypatch, gpus, share):
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", "Tesla of {}".format)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    sizes = {"cpu": 1000, "cuda:0": 500}
    monkeypatch.setattr("pando_worker.host.memory_bytes", sizes.__getitem__)
    world.settings = world.settings.model_copy(update={"device": "cuda:0"})
    worker = world.start_worker().worker
    assert (worker.budget_bytes, worker.host_budget_bytes) == (450, share)
    world.settings = world.settings.model_copy(update={"host_memory_bytes": 77})
    assert world.start_worker().worker.host_budget_bytes == 77


def test_a_worker_on_a_cpu_has_one_memory(world: World):
    world.settings = world.settings.model_copy(update={"host_memory_bytes": 77})
    assert world.start_worker().worker.host_budget_bytes is None


def test_a_worker_says_whether_its_rows_are_on_a_disk(world: World, tmp_path):
    assert not world.host.worker.rows_on_disk
    world.settings = world.settings.model_copy(update={"rows_dir": tmp_path})
    assert world.start_worker().worker.rows_on_disk
