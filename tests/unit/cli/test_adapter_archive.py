from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pando_cli.adapter_archive import unpack
from pando_cli.errors import CliError


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(range(256)) * 1000}


@pytest.mark.parametrize("size", [1, 511, 512, 65536, 1 << 20])
def test_the_files_arrive_however_they_are_cut(tmp_path: Path, size: int) -> None:
    files = {"adapter_config.json": b"{}"} if size == 1 else FILES
    unpack(pieces(archive(files), size), tmp_path / "pirate")
    found = {path.name: path.read_bytes() for path in (tmp_path / "pirate").iterdir()}
    assert found == files


def test_a_folder_around_the_files_is_taken_off(tmp_path: Path) -> None:
    content = archive({f"ft-tiny/{name}": data for name, data in FILES.items()})
    unpack([content], tmp_path / "pirate")
    assert sorted(path.name for path in (tmp_path / "pirate").iterdir()) == sorted(FILES)


def test_an_older_download_is_replaced(tmp_path: Path) -> None:
    unpack([archive({"old": b"1", "both": b"1"})], tmp_path / "pirate")
    unpack([archive({"new": b"2", "both": b"2"})], tmp_path / "pirate")
    assert sorted(path.name for path in (tmp_path / "pirate").iterdir()) == ["both", "new"]


@pytest.mark.parametrize("cut", [0, 100, 700, 5000])
def test_half_an_archive_leaves_nothing(tmp_path: Path, cut: int) -> None:
    with pytest.raises(CliError, match="damaged"):
        unpack([archive(FILES)[:cut]], tmp_path / "pirate")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(CliError, match="no plain file"):
        unpack([archive({name: b"1"})], tmp_path / "deep" / "pirate")
    assert list((tmp_path / "deep").iterdir()) == []
    assert not (tmp_path / "escaped").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("weights")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(CliError, match="no plain file"):
        unpack([buffer.getvalue()], tmp_path / "pirate")
