"""Which backend pointwise operations take: Triton for tensors on a GPU, torch elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_always_triton: ContextVar[bool] = ContextVar("pando_always_triton", default=False)


def runs_triton(tensor: Tensor) -> bool:
    return tensor.is_cuda or _always_triton.get()


@contextmanager
def always_triton() -> Iterator[None]:
    """Take Triton whatever the device: how tests of the interpreter reach it on CPU tensors."""
    token = _always_triton.set(True)
    try:
        yield
    finally:
        _always_triton.reset(token)
