"""Durable bytes: a directory or an object store, through fsspec. Every write is atomic."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pando_shared.errors import NotFound

#: Behind the name of what is not whole yet. A writer that is killed leaves it for
#: `unfinished_writes` to delete.
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes of a file system: its size, and what a user may still write to it."""

    size: int
    free: int


class Storage:
    """Files below one root. Paths are relative, with forward slashes, and never leave the root."""

    def __init__(self, url: str):
        self._url = url
        self.fs, root = fsspec.core.url_to_fs(url)
        self.root = root.rstrip("/")
        self._local = isinstance(self.fs, LocalFileSystem)

    @property
    def local_root(self) -> Path | None:
        """Where it is on this machine; None: it is an object store."""
        return Path(self.root) if self._local else None

    def disk_usage(self) -> DiskUsage | None:
        """Of the disk that holds this storage; None: it is an object store, or is not there."""
        if not self._local or not Path(self.root).is_dir():
            return None
        usage = shutil.disk_usage(self.root)
        return DiskUsage(usage.total, usage.free)

    def _full(self, path: str) -> str:
        # Not pathlib's parts: it interns each, and with the ids of ever new files the interpreter's
        # table of such strings is made anew again and again, two megabytes at a time.
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or path.startswith("/") or ".." in parts:
            raise NotFound(f"no such path in storage: {path!r}")
        return "/".join((self.root, *parts))

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """A file to write to. It appears at `path`, whole and synced, or not at all."""
        full = self._full(path)
        if not self._local:
            # Object stores publish on close, and discard an upload that is not completed. Of a
            # transaction a file system has one for all threads; hence one for each writer.
            fs, _ = fsspec.core.url_to_fs(self._url, skip_instance_cache=True)
            with fs.transaction, fs.open(full, "wb") as stream:
                yield cast(IO[bytes], stream)
            self.fs.invalidate_cache(full)
            return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        partial = f"{full}.{secrets.token_hex(4)}{PARTIAL}"
        try:
            with open(partial, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, full)
            _sync_folder(os.path.dirname(full))
        finally:
            if os.path.exists(partial):
                os.unlink(partial)

    def write(self, path: str, content: bytes) -> None:
        if not self._local:
            # Whole or not at all too, and one request.
            self.fs.pipe_file(self._full(path), content)
            return
        with self.writing(path) as stream:
            stream.write(content)

    def read(self, path: str) -> bytes:
        """Raises NotFound if there is no such file."""
        with self.reading(path) as stream:
            return stream.read()

    def reading(self, path: str) -> IO[bytes]:
        """Raises NotFound if there is no such file."""
        try:
            return cast(IO[bytes], self.fs.open(self._full(path), "rb"))
        except FileNotFoundError as error:
            raise NotFound(f"no such file in storage: {path}") from error

    def exists(self, path: str) -> bool:
        return bool(self.fs.exists(self._full(path)))

    def size(self, path: str) -> int:
        try:
            return int(self.fs.size(self._full(path)))
        except FileNotFoundError as error:
            raise NotFound(f"no such file in storage: {path}") from error

    def names(self, path: str) -> list[str]:
        """Names directly below `path`, sorted; empty if there is no such folder."""
        full = self._full(path)
        try:
            entries = self.fs.ls(full, detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def walk(self, path: str) -> list[str]:
        """Files anywhere below `path`, as paths relative to it, sorted; empty if there are none."""
        full = self._full(path)
        files = self.fs.find(full) if self.fs.isdir(full) else []
        relative = (file[len(full) :].lstrip("/") for file in files)
        return sorted(name for name in relative if not _in_partial(name))

    def delete(self, path: str) -> None:
        """Removes a file or a folder with all in it; nothing happens if it is not there.

        Others may delete the same, or write below it, at the same time.
        """
        full = self._full(path)
        while self.fs.exists(full):
            try:
                self.fs.rm(full, recursive=True)
            except FileNotFoundError:
                # What another has deleted just now, an object store's listing may still show.
                self.fs.invalidate_cache(full)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
            else:
                return

    def upload_folder(self, local: Path, path: str) -> None:
        """Publish a local folder at `path`. On a local root the folder appears at once, whole.

        On an object store the manifest-last rule holds: `manifest.json`, if there is one, is
        written after everything else, so a reader that finds it finds the rest.
        """
        full = self._full(path)
        if self._local:
            staging = f"{full}.{secrets.token_hex(4)}{PARTIAL}"
            try:
                shutil.copytree(local, staging)
                _sync_files(staging)
                _swap_in(staging, full)
            finally:
                # Left on a disk that is full, each attempt would take what another has freed.
                shutil.rmtree(staging, ignore_errors=True)
            return
        files = [file for file in sorted(local.rglob("*")) if file.is_file()]
        for file in sorted(files, key=lambda file: file.name == "manifest.json"):
            self.fs.put_file(str(file), f"{full}/{file.relative_to(local).as_posix()}")

    def download_folder(self, path: str, local: Path) -> None:
        """Copy a folder here. Raises NotFound if there is none."""
        full = self._full(path)
        if not self.fs.exists(full):
            raise NotFound(f"no such folder in storage: {path}")
        local.mkdir(parents=True, exist_ok=True)
        for file in self.fs.find(full):
            target = local / file[len(full) :].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(file, str(target))

    def local_path(self, path: str) -> Path | None:
        """The file's own path where storage is a local directory, so that it need not be copied."""
        return Path(self._full(path)) if self._local else None


def _in_partial(name: str) -> bool:
    return any(part.endswith(PARTIAL) for part in name.split("/"))


def _sync_files(folder: str) -> None:
    for file in Path(folder).rglob("*"):
        if file.is_file():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())


def _swap_in(staging: str, full: str) -> None:
    """Put a folder in another's place."""
    if os.path.exists(full):
        old = f"{full}.{secrets.token_hex(4)}{PARTIAL}"
        os.replace(full, old)
        os.replace(staging, full)
        shutil.rmtree(old)
    else:
        os.replace(staging, full)
    _sync_folder(os.path.dirname(full))


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
