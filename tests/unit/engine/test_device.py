"""What a machine, or a container on it, has."""

from __future__ import annotations

import psutil
import pytest
import torch

from pando_shared.errors import NoDevice
from pando_worker.engine import device


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("1073741824\n", 1 << 30), ("max\n", None), ("", None), (str(1 << 60), None), (None, None)],
)
@pytest.mark.parametrize("version", ["_LIMIT", "_LIMIT_1"])
def test_a_containers_limit_counts(tmp_path, monkeypatch, version, limit, expected):
    file = tmp_path / "limit"
    if limit is not None:
        file.write_text(limit)
    for name in ("_LIMIT", "_LIMIT_1"):
        monkeypatch.setattr(device, name, file if name == version else tmp_path / "none")
    assert device.memory_bytes("cpu") == (expected or psutil.virtual_memory().total)


@pytest.mark.parametrize(
    ("wanted", "cuda", "gpus", "says"),
    [
        ("gpu", "12.8", 1, "a device is cpu, or cuda:0 for the first GPU"),
        ("cuda:0", None, 0, "is a build for CPUs: `make setup TORCH=cuda`"),
        ("cuda", "12.8", 0, "torch finds no GPU that it can use: see whether `nvidia-smi`"),
        ("cuda:0", "12.8", 0, "what CUDA_VISIBLE_DEVICES says (7)"),
        ("cuda:2", "12.8", 2, "sees 2 GPUs, of which the last is cuda:1"),
    ],
)
def test_what_a_device_lacks_is_said(monkeypatch, wanted, cuda, gpus, says):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(NoDevice) as told:
        device.require_device(wanted)
    assert told.value.message.startswith(f"PANDO_DEVICE is {wanted}, but ")
    assert says in told.value.message


@pytest.mark.parametrize("wanted", [None, "cpu", "cuda", "cuda:1"])
def test_a_device_that_is_there_is_good(monkeypatch, wanted):
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    device.require_device(wanted)
