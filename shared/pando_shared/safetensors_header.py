"""What tensors a safetensors file holds, without reading one of them or needing a library."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from pando_shared.errors import InvalidRequest

#: The format's own limit; a larger figure means that the file is something else.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's name, shape and size in the file."""

    name: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> list[TensorInfo]:
    """The tensors of one file: 8 bytes of length (little endian), then that much JSON.

    Raises:
        InvalidRequest: the file is not a safetensors file, or is cut short.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        text = stream.read(length) if len(start) == 8 and length <= _LONGEST_HEADER else b""
    try:
        entries = {k: v for k, v in json.loads(text).items() if k != "__metadata__"}
        tensors = [
            TensorInfo(name, tuple(entry["shape"]), end - begin)
            for name, entry in entries.items()
            for begin, end in [entry["data_offsets"]]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"{path} is not a safetensors file: {error}", param="model") from error
    expected = 8 + length + sum(tensor.bytes for tensor in tensors)
    if path.stat().st_size < expected:
        raise InvalidRequest(
            f"{path} is cut short: it has {path.stat().st_size} of {expected} bytes", param="model"
        )
    return tensors
