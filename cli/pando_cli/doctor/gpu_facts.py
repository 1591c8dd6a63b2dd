"""GPUs as NVML sees them, and the CUDA that the installed torch was built with."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

#: Major and minor number of a CUDA release.
CudaVersion = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Gpu:
    """`processes` are the bytes of each process id; those of other containers are not in it.

    `used_bytes` is None where NVML does not tell them.
    """

    name: str
    total_bytes: int
    used_bytes: int | None
    processes: dict[int, int]


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """`cuda` is the newest that the driver supports. `hidden`: CUDA_VISIBLE_DEVICES hides all."""

    driver: str
    cuda: CudaVersion
    gpus: tuple[Gpu, ...]
    hidden: bool


@dataclass(frozen=True, slots=True)
class NoGpu:
    """Why there is none; `broken`: there seems to be one that cannot be used."""

    why: str
    broken: bool = False


def read_gpus() -> GpuFacts | NoGpu:
    try:
        import pynvml
    except ImportError:
        return NoGpu("nvidia-ml-py is not installed, which looks for GPUs")
    absent = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)
    try:
        with _nvml(pynvml):
            return _read(pynvml)
    except absent as error:
        if Path("/proc/driver/nvidia").exists():
            return NoGpu(f"this machine has an NVIDIA driver that NVML cannot use: {error}", True)
        return NoGpu("no NVIDIA GPU here; workers train on the CPU")
    except pynvml.NVMLError as error:
        return NoGpu(f"NVML does not work: {error}", True)


@contextmanager
def _nvml(pynvml: Any) -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _read(pynvml: Any) -> GpuFacts | NoGpu:
    count = int(pynvml.nvmlDeviceGetCount())
    if not count:
        return NoGpu("the NVIDIA driver sees no GPU; workers train on the CPU")
    supported = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return GpuFacts(
        driver=_text(pynvml.nvmlSystemGetDriverVersion()),
        cuda=(supported // 1000, supported % 1000 // 10),
        gpus=tuple(_gpu(pynvml, index) for index in range(count)),
        hidden=visible is not None and visible.strip() in ("", "-1"),
    )


def _gpu(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = _text(pynvml.nvmlDeviceGetName(handle))
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        # One that is cut into parts (MIG) tells only those who have rights.
        return Gpu(name, total_bytes=0, used_bytes=None, processes={})
    return Gpu(
        name=name,
        total_bytes=int(memory.total),
        used_bytes=int(memory.used),
        processes={int(p.pid): int(p.usedGpuMemory or 0) for p in running},
    )


def _text(value: str | bytes) -> str:
    """Older releases of the library give bytes."""
    return value.decode() if isinstance(value, bytes) else value


def torch_cuda() -> CudaVersion | None:
    """What the installed torch was built with, read from its files: importing it takes seconds.

    None: there is no torch, or it is built for CPUs.
    """
    try:
        source = metadata.distribution("torch").locate_file("torch/version.py")
        tree = ast.parse(Path(str(source)).read_text(encoding="utf-8"))
    except (metadata.PackageNotFoundError, OSError):
        return None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if any(isinstance(t, ast.Name) and t.id == "cuda" for t in targets):
            return parse_cuda(value.value) if isinstance(value, ast.Constant) else None
    return None


def parse_cuda(text: object) -> CudaVersion | None:
    """ "12.8" -> (12, 8)."""
    if not isinstance(text, str):
        return None
    major, _, minor = text.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)
