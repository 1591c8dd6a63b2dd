"""An adapter's folder out of the tar stream the service sends."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pando_cli.errors import CliError


def unpack(pieces: Iterable[bytes], folder: Path) -> None:
    """Write the files to `folder`, replacing it if it exists; all of them or none.

    Raises:
        CliError: what came is not a whole tar archive, or it points outside the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        staged = Path(scratch) / "adapter"
        try:
            with tarfile.open(fileobj=_Pieces(pieces), mode="r|*") as archive:
                archive.extractall(staged, filter="data")
        except tarfile.TarError as error:
            raise CliError(
                f"the adapter's archive is damaged: {error}", hint="Download it again."
            ) from error
        root = _only_folder(staged)
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        shutil.move(root, folder)


def _only_folder(staged: Path) -> Path:
    """Archives may or may not hold one folder around the files."""
    entries = list(staged.iterdir()) if staged.is_dir() else []
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else staged


class _Pieces(io.RawIOBase):
    """An iterator of bytes as the file object that tarfile reads from."""

    def __init__(self, pieces: Iterable[bytes]):
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
