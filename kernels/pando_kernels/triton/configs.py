"""Tile sizes of the kernels: from a table that is part of the package, never searched for in a run.

A job's sums must not depend on its neighbours. So a configuration is chosen by the device, the
kernel, the type and the extent that a kernel sums over or writes along, which are the model's, and
never by how many rows or jobs there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import resources

import torch

#: A multiprocessor of sm_90 gives a block 227 KiB of shared memory, one of sm_80 163 KiB.
SHARED_BYTES_OF_SM_90 = 232448
SHARED_BYTES_OF_SM_80 = 166912

#: The architecture whose defaults serve where no GPU says what it is.
_assumed: ContextVar[str] = ContextVar("pando_assumed_architecture", default="sm_90")
#: Configurations that are being tried instead of the table's.
_tried: ContextVar[dict[str, Config] | None] = ContextVar("pando_tried_configs", default=None)


@dataclass(frozen=True, slots=True)
class Config:
    """How one kernel is cut into programs.

    block: elements of the long axis (K or N) a step or program takes; columns: at most so many of
    the short axis (C or R) a program takes; depth: elements of K a step of a base product takes;
    span: how many chunks of rows a program of a reduction sums; rows: of a tile that is no
    segment's (visits to an expert, tokens).
    """

    block: int
    columns: int = 64
    depth: int = 64
    span: int = 1
    rows: int = 64
    warps: int = 4
    stages: int = 3


@contextmanager
def assuming(architecture: str) -> Iterator[None]:
    """Take "sm_80" or "sm_90" for the architecture of tensors that are not on a GPU."""
    token = _assumed.set(architecture)
    try:
        yield
    finally:
        _assumed.reset(token)


@contextmanager
def trying(kernel: str, chosen: Config) -> Iterator[None]:
    """Take this configuration for one kernel: how the table's are found."""
    token = _tried.set({**(_tried.get() or {}), kernel: chosen})
    try:
        yield
    finally:
        _tried.reset(token)


def config(kernel: str, extent: int, dtype: torch.dtype, device: torch.device) -> Config:
    """The configuration for this device, or what suits its architecture.

    Raises KeyError for a kernel that the table does not know.
    """
    tried = _tried.get()
    if tried is not None and kernel in tried:
        return tried[kernel]
    return Config(**_fields(kernel, extent, dtype, device))


def epilogue_pays(k: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `gemm_expand` is quicker here than the library's product and `expand` behind it.

    It saves reading and writing Y once, and must not lose that against a tuned library.
    """
    tried = _tried.get()
    if tried is not None:
        return "gemm_expand" in tried
    return bool(_fields("epilogue", k, dtype, device)["pays"])


def _fields(
    kernel: str, extent: int, dtype: torch.dtype, device: torch.device
) -> Mapping[str, int]:
    name = _device_name(device.index or 0) if device.type == "cuda" else None
    return _lookup(kernel, power_of_two(extent), dtype.itemsize * 8, name, _assumed.get())


def power_of_two(extent: int) -> int:
    """The smallest that is no less. Extents with the same one share a configuration."""
    return 1 << max(extent - 1, 0).bit_length()


@cache
def table() -> dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]]:
    """Device name or architecture -> kernel -> bits of the type -> bucket or "any" -> fields."""
    text = resources.files("pando_kernels.triton").joinpath("configs.json").read_text()
    return dict(json.loads(text))


@cache
def _device_name(index: int) -> tuple[str, str]:
    properties = torch.cuda.get_device_properties(index)
    shared = getattr(properties, "shared_memory_per_block_optin", 0)
    return properties.name, "sm_90" if shared >= SHARED_BYTES_OF_SM_90 else "sm_80"


@cache
def _lookup(
    kernel: str, size: int, bits: int, device: tuple[str, str] | None, assumed: str
) -> Mapping[str, int]:
    name, architecture = device or (None, assumed)
    for key in (name, architecture):
        found = table().get(key or "", {}).get(kernel, {}).get(str(bits), {})
        fields = found.get(str(size), found.get("any"))
        if fields is not None:
            return fields
    raise KeyError(f"no configuration for kernel {kernel!r} with {bits}-bit numbers")
