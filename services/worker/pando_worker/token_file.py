"""Token files: a data set tokenised once, read as memory-mapped arrays ever after.

A folder of three numpy files, for S sequences of N tokens in all:

- `tokens.npy`  uint32 [N]   all sequences, one behind the other
- `targets.npy` bool   [N]   True where the token is to be predicted; never at a sequence's start
- `offsets.npy` int64  [S+1] sequence i is tokens[offsets[i] : offsets[i + 1]]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

_TOKEN = np.dtype("<u4")
_TARGET = np.dtype("?")
_OFFSET = np.dtype("<i8")


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A token file opened for reading; the arrays stay on disk until they are touched."""

    tokens: NDArray[np.uint32]
    targets: NDArray[np.bool_]
    offsets: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> TokenFile:
        """Map the files in `folder`.

        Raises:
            FileNotFoundError: one of the three is missing.
        """
        names = ("tokens", "targets", "offsets")
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.offsets) - 1

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence; 0 if there is none."""
        return int(np.diff(self.offsets).max(initial=0))

    def sequence(self, index: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """Tokens and targets of one sequence, both [length], without copying.

        Raises:
            IndexError: there is no such sequence.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of a token file that holds {len(self)}")
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.tokens[span], self.targets[span]

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every sequence, [S]."""
        return np.diff(self.offsets)

    def target_counts(self) -> NDArray[np.int64]:
        """Targets of every sequence, [S]."""
        if len(self) == 0:
            return np.zeros(0, np.int64)
        return np.add.reduceat(self.targets, self.offsets[:-1], dtype=np.int64)


class _ArrayStream:
    """A one-dimensional .npy file of a length that is known only at the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any]):
        self._dtype = dtype
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115  (`close` does)
        self._length = 0
        self._write_header()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: Sequence[int] | Sequence[bool]) -> None:
        self._file.write(np.asarray(values, self._dtype).tobytes())
        self._length += len(values)

    def close(self) -> None:
        # numpy pads a header so that a longer shape still fits: it takes the same bytes again.
        self._file.seek(0)
        self._write_header()
        self._file.close()


class TokenFileWriter:
    """Writes a token file sequence by sequence; a context manager that completes it on leaving."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._tokens = _ArrayStream(folder / "tokens.npy", _TOKEN)
        self._targets = _ArrayStream(folder / "targets.npy", _TARGET)
        self._offsets = _ArrayStream(folder / "offsets.npy", _OFFSET)
        self._end = 0
        self._offsets.append([0])

    def append(self, tokens: Sequence[int], targets: Sequence[bool]) -> None:
        """Add one sequence; both arguments are [length].

        Raises:
            ValueError: it is empty, the lengths differ or its first token is a target.
        """
        if not tokens or len(tokens) != len(targets):
            raise ValueError(f"a sequence of {len(tokens)} tokens and {len(targets)} targets")
        if targets[0]:
            raise ValueError("a sequence's first token has nothing to be predicted from")
        self._tokens.append(tokens)
        self._targets.append(targets)
        self._end += len(tokens)
        self._offsets.append([self._end])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            for stream in (self._tokens, self._targets, self._offsets):
                stack.callback(stream.close)
