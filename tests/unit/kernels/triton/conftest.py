"""Kernels run compiled where there is a GPU, and in Triton's interpreter elsewhere."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from triton_interpreter import device as tensors_device
from triton_interpreter import mend_bf16

from pando_kernels import torch_ops, triton_ops
from pando_kernels.segment_ops import SegmentOps

mend_bf16()

BACKENDS = {"torch": torch_ops, "triton": triton_ops}


@pytest.fixture
def device() -> torch.device:
    return tensors_device()


@pytest.fixture(params=list(BACKENDS))
def ops(request: pytest.FixtureRequest) -> SegmentOps:
    """Every backend of the segment operations."""
    return cast(SegmentOps, BACKENDS[request.param])
