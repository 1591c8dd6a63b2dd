"""An adapter's folder out of the tar stream the service sends."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pando_cli.errors import CliError


def unpack(pieces: Iterable[bytes], folder: Path) -> None:
    """Write the files to `folder`, replacing it if it exists; all of them or none.

    Raises:
        CliError: what came is not a whole tar archive, or not one of plain files in folders.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        staged = Path(scratch) / "adapter"
        staged.mkdir()
        try:
            with tarfile.open(fileobj=_Pieces(pieces), mode="r|*") as archive:
                for member in archive:
                    _extract(archive, member, staged)
        except tarfile.TarError as error:
            raise CliError(
                f"the adapter's archive is damaged: {error}", hint="Download it again."
            ) from error
        root = _only_folder(staged)
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        shutil.move(root, folder)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """By hand: Python learnt to distrust archives in 3.11.4, and we run on 3.11.0."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise tarfile.ReadError(f"{member.name} is no plain file below the adapter's folder")
    if member.isdir():
        return
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)


def _only_folder(staged: Path) -> Path:
    """Archives may or may not hold one folder around the files."""
    entries = list(staged.iterdir())
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
