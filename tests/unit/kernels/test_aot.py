"""Kernels compile for both architectures, without spills, within a block's shared memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pando_kernels.triton.configs import SHARED_BYTES_OF_SM_80, SHARED_BYTES_OF_SM_90

ROOT = Path(__file__).resolve().parents[3]
SHARED = {"sm_80": SHARED_BYTES_OF_SM_80, "sm_90": SHARED_BYTES_OF_SM_90}
#: Kernels with products of matrices.
PRODUCTS = {
    "expand_kernel",
    "gemm_expand_kernel",
    "meft_combine_kernel",
    "meft_lookup_kernel",
    "meft_weigh_kernel",
    "reduce_pass_kernel",
    "reduce_tile_kernel",
    "shrink_kernel",
    "swiglu_pending_backward_kernel",
    "swiglu_pending_kernel",
    "unshrink_kernel",
    "weigh_kernel",
}


@pytest.fixture(scope="module", params=["sm_80", "sm_90"])
def kernels(request, tmp_path_factory):
    """What `benchmarks/aot.py` says of one architecture; it needs a process without interpreter."""
    table = tmp_path_factory.mktemp("aot") / "aot.json"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "benchmarks/aot.py", "--arch", request.param, "--json", table]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(table.read_text())["kernels"]


def test_nothing_spills(kernels):
    assert {k["kernel"]: k["spill_bytes"] for k in kernels if k["spill_bytes"]} == {}


def test_shared_memory_suffices(kernels):
    assert [k for k in kernels if k["shared_bytes"] > SHARED[k["architecture"]]] == []


def test_products_of_16_bits_are_by_tensor_cores(kernels):
    """Whole warp groups on sm_90, where a tile has 64 rows or more; single warps on sm_80."""
    found = {k["kernel"] for k in kernels}
    assert found >= PRODUCTS
    for k in kernels:
        if k["kernel"] in PRODUCTS and "fp32" not in k["case"]:
            name = "HGMMA" if k["architecture"] == "sm_90" else "HMMA"
            assert k["instructions"][name] > 0, k


def test_activations_are_copied_in_the_background(kernels):
    copied = {"shrink_kernel", "gemm_expand_kernel", "weigh_kernel"}
    copied |= {"meft_lookup_kernel", "meft_combine_kernel", "meft_weigh_kernel"}
    for k in kernels:
        if k["kernel"] in copied:
            assert k["instructions"]["LDGSTS"] > 0, k


def test_activations_are_loaded_16_bytes_at_a_time(kernels):
    """With rank 16, two-byte loads serve only ranks that 8 does not divide."""
    for k in kernels:
        if k["case"] in ("lora-bf16-16", "gated-bf16-16"):
            assert k["instructions"]["LDG16"] <= 16, k


def test_a_sparse_memory_is_loaded_16_bytes_at_a_time(kernels):
    """What is gathered too, for rows are whole."""
    found = {k["kernel"] for k in kernels if k["case"].startswith("meft")}
    assert found >= {"meft_select_kernel", "meft_fetch_kernel", "meft_push_kernel"}
    for k in kernels:
        if k["case"].startswith("meft-bf16"):
            assert k["instructions"]["LDG16"] == 0, k
            wide = k["instructions"]["LDGSTS"] + k["instructions"]["LDG128"]
            assert wide > 0 or k["kernel"] == "meft_tiles_kernel", k


def test_what_lies_between_products_is_loaded_16_bytes_at_a_time(kernels):
    """Of AdamW's chunks, all but a vector's last."""
    found = {k["case"] for k in kernels}
    for k in kernels:
        if k["case"].startswith(("norm", "silu", "gelu", "rope", "cross-entropy")):
            # One label's logit is read alone.
            assert k["instructions"]["LDG16"] <= 1, k
            assert k["instructions"]["LDG128"] > 0, k
        if k["kernel"] == "update_kernel":
            assert k["instructions"]["LDG128"] >= 4, k
    assert found >= {"norm-4096", "silu", "rope", "cross-entropy", "adamw"}
