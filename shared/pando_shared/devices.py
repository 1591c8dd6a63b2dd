"""Which devices workers should train on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

#: There when the driver is loaded, also in a container that was given its GPUs.
_DRIVER = Path("/dev/nvidiactl")


def devices(wanted: str) -> tuple[str, ...]:
    """`cuda:0`, `cuda:1`, ... one for every visible GPU; `cpu` if there is none or it is wanted."""
    count = 0 if wanted == "cpu" else _visible_gpus()
    return tuple(f"cuda:{index}" for index in range(count)) or ("cpu",)


def _visible_gpus() -> int:
    """GPUs that a process started from here would see."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        entries = [entry.strip() for entry in listed.split(",")]
        return len([entry for entry in entries if entry and entry != "-1"])
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if _DRIVER.exists():
            log.warning(
                "this machine has an NVIDIA driver, and no GPU is used: NVML cannot be (%s). See "
                "what `nvidia-smi` says; CUDA_VISIBLE_DEVICES=0 uses the first GPU without asking "
                "NVML",
                error,
            )
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
