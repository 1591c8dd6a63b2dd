"""Kernels run compiled where there is a GPU, and in Triton's interpreter elsewhere."""

from __future__ import annotations

import pytest
import torch
from triton_interpreter import device as tensors_device
from triton_interpreter import mend_bf16

mend_bf16()


@pytest.fixture
def device() -> torch.device:
    return tensors_device()
