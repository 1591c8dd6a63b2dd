"""A folder of storage as a tar or zip archive, made while it is sent."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Generator

from typing_extensions import Buffer

from pando_api.streamed_bytes import CHUNK_BYTES
from pando_shared.storage import Storage

_BLOCK = tarfile.BLOCKSIZE


def tar_stream(storage: Storage, folder: str, modified_at: float) -> Generator[bytes, None, None]:
    """Uncompressed POSIX tar; weights do not compress."""
    for name in storage.walk(folder):
        path = f"{folder}/{name}"
        entry = tarfile.TarInfo(name)
        entry.size = storage.size(path)
        entry.mtime = int(modified_at)
        yield entry.tobuf(tarfile.PAX_FORMAT)
        yield from _content(storage, path)
        yield bytes(-entry.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def zip_stream(storage: Storage, folder: str) -> Generator[bytes, None, None]:
    """Zip without compression, sizes behind each file, so that nothing need be known ahead."""
    outbox = _Outbox()
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_STORED) as archive:
        for name in storage.walk(folder):
            with archive.open(name, "w", force_zip64=True) as entry:
                for chunk in _content(storage, f"{folder}/{name}"):
                    entry.write(chunk)
                    yield outbox.take()
            yield outbox.take()
    yield outbox.take()


def _content(storage: Storage, path: str) -> Generator[bytes, None, None]:
    with storage.reading(path) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


class _Outbox(io.RawIOBase):
    """A file that can only be written, and emptied from the other side."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        chunk = bytes(data)
        self._pending += chunk
        return len(chunk)

    def take(self) -> bytes:
        taken = bytes(self._pending)
        self._pending.clear()
        return taken
