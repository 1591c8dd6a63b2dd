"""Configurations come from the table: by device where it has one, else by architecture."""

from __future__ import annotations

import pytest
import torch

from pando_kernels.triton import configs
from pando_kernels.triton.configs import Config, assuming, config, power_of_two

CPU = torch.device("cpu")


def test_every_kernel_has_one_for_every_type():
    assert set(configs.table()) >= {"sm_80", "sm_90"}
    assert set(configs.table()["sm_80"]) == set(configs.table()["sm_90"])
    for kernels in configs.table().values():
        for name, bits in kernels.items():
            for fields in bits.values():
                for one in fields.values():
                    assert set(one) == {"pays"} if name == "epilogue" else Config(**one)
    for architecture in ("sm_80", "sm_90"):
        with assuming(architecture):
            for kernel in set(configs.table()["sm_90"]) - {"epilogue"}:
                for dtype in (torch.float32, torch.bfloat16, torch.float16):
                    assert config(kernel, 4096, dtype, CPU).warps in (4, 8)


def test_an_architecture_may_differ():
    with assuming("sm_80"):
        small = config("gemm_expand", 4096, torch.bfloat16, CPU)
    assert small.block < config("gemm_expand", 4096, torch.bfloat16, CPU).block


def test_extents_up_to_a_power_of_two_share_one():
    assert [power_of_two(n) for n in (1, 2, 3, 4096, 4097)] == [1, 2, 4, 4096, 8192]


def test_what_is_tuned_for_a_device_comes_first(monkeypatch):
    tuned = {"16": {"4096": {"block": 64}}}
    table = {**configs.table(), "NVIDIA X": {"shrink": tuned}}
    monkeypatch.setattr(configs, "table", lambda: table)
    configs._lookup.cache_clear()
    device = ("NVIDIA X", "sm_80")
    assert configs._lookup("shrink", 4096, 16, device, "sm_90") == {"block": 64}
    default = table["sm_80"]["shrink"]["16"]["any"]
    assert configs._lookup("shrink", 8192, 16, device, "sm_90") == default
    configs._lookup.cache_clear()


def test_an_unknown_kernel_is_named():
    with pytest.raises(KeyError, match="no configuration for kernel 'none'"):
        config("none", 1, torch.float32, CPU)
