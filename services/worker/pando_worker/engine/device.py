"""Devices and their memory, as the engine sees them."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import psutil
import torch

from pando_shared.errors import NoDevice

_STATUS = Path("/proc/self/status")
#: A container's limit, in bytes or "max": of cgroups of version 2, and of version 1.
_LIMIT = Path("/sys/fs/cgroup/memory.max")
_LIMIT_1 = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def choose_device(wanted: str | None) -> str:
    """The device to train on: the one asked for, else the first GPU, else the CPU."""
    if wanted:
        return wanted
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def require_device(wanted: str | None) -> None:
    """Make sure that this process can train on the device that was asked for, if one was.

    Raises:
        NoDevice: it cannot; says what is missing.
    """
    missing = _missing(wanted) if wanted else None
    if missing is not None:
        raise NoDevice(
            f"PANDO_DEVICE is {wanted}, but {missing}. `pando doctor` looks closer; "
            "PANDO_DEVICE=cpu trains without a GPU"
        )


def _missing(wanted: str) -> str | None:
    """Why this process cannot train on a device; None: it can."""
    try:
        device = torch.device(wanted)
    except RuntimeError:
        return "a device is cpu, or cuda:0 for the first GPU, cuda:1 for the second"
    if device.type != "cuda":
        return None
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is a build for CPUs: `make setup TORCH=cuda` installs one "
            "for GPUs"
        )
    count = torch.cuda.device_count()
    if not count:
        return (
            "torch finds no GPU that it can use: see whether `nvidia-smi` lists one (in a "
            "container, whether it was given any), and what CUDA_VISIBLE_DEVICES says "
            f"({os.environ.get('CUDA_VISIBLE_DEVICES', 'nothing')})"
        )
    if (device.index or 0) >= count:
        return f"this process sees {count} GPUs, of which the last is cuda:{count - 1}"
    return None


def choose_lanes(device: str) -> int:
    """Microbatches to run side by side: one a core on a CPU, one on a GPU."""
    return torch.get_num_threads() if device == "cpu" else 1


def free_tokens(device: torch.device) -> int:
    """How large a microbatch may be that takes no longer than the smallest."""
    return 0 if device.type == "cpu" else 1024


def is_usable() -> bool:
    """Whether the GPU in use, if there is one, still does what it is told."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def gpu_uuid(device: str) -> str:
    """A GPU's name that no other has, as `nvidia-smi -L` prints it: "GPU-…"."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is a device's memory running out. Of a CPU's, under a limit of the process's,
    torch tells in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def memory_bytes(device: str) -> int:
    """All memory of the device; of a CPU, what the process's container may have of it."""
    if device == "cpu":
        total = int(psutil.virtual_memory().total)
        limits = [file.read_text().strip() for file in (_LIMIT, _LIMIT_1) if file.exists()]
        return min([total, *(int(limit) for limit in limits if limit.isdecimal())])
    return int(torch.cuda.get_device_properties(device).total_memory)


def used_bytes(device: str) -> int:
    """What this process holds now: resident memory on a CPU, reserved memory on a GPU."""
    if device == "cpu":
        return int(psutil.Process().memory_info().rss)
    return int(torch.cuda.memory_reserved(device))


def reset_peak(device: str) -> None:
    """Start measuring a new peak."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text("5")  # Linux: the high-water mark becomes the present size


def peak_bytes(device: str) -> int:
    """The most this process held since `reset_peak`."""
    if device != "cpu":
        return int(torch.cuda.max_memory_reserved(device))
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return used_bytes(device)


def release_cached(device: str) -> None:
    """Give memory that nothing uses back to the device, so that measurements mean something."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
