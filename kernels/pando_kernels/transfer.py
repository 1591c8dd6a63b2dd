"""Copies to a device that nothing waits for."""

from __future__ import annotations

import weakref
from contextlib import suppress

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; to a GPU through pinned memory, behind the work queued."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def pin(tensor: Tensor) -> None:
    """Have GPUs read and write a CPU tensor where it lies, for as long as it is there.

    torch's own pinned allocations are rounded up to a power of two, which of large ones may waste
    almost half.

    Raises:
        RuntimeError: the machine lets the process lock no more memory.
    """
    cudart = torch.cuda.cudart()
    address = tensor.data_ptr()
    error = int(cudart.cudaHostRegister(address, tensor.nbytes, 0))
    if error:
        with suppress(RuntimeError):  # CUDA remembers the error until somebody asks, which this is
            torch.zeros(1, device="cuda")
        raise RuntimeError(f"{tensor.nbytes} bytes of host memory cannot be locked (CUDA: {error})")
    weakref.finalize(tensor, cudart.cudaHostUnregister, address)
