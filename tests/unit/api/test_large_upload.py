"""What large and broken-off uploads cost a real API process."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import api_process
import httpx
import pytest

from pando_shared.settings import MIB

SECRET = "sk-test"
BOUNDARY = "frontier"


@dataclass(frozen=True)
class Process:
    pid: int
    client: httpx.Client

    def peak_bytes(self) -> int:
        """The most memory the process has ever had resident (Linux's VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@pytest.fixture
def home() -> Iterator[Path]:
    """Not `tmp_path`, which pytest would keep with all its 512 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def process(home: Path) -> Iterator[Process]:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc, which this system has not")
    command = [sys.executable, api_process.__file__, str(home), SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        port = running.stdout.readline().strip()
        headers = {"Authorization": f"Bearer {SECRET}"}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60
        ) as client:
            yield Process(running.pid, client)
        running.terminate()


def form(file_bytes: int) -> Iterator[bytes]:
    """A multipart body with a file of this size, a MiB at a time."""
    disposition = "Content-Disposition: form-data;"
    yield f'--{BOUNDARY}\r\n{disposition} name="purpose"\r\n\r\nfine-tune\r\n'.encode()
    yield f'--{BOUNDARY}\r\n{disposition} name="file"; filename="a.jsonl"\r\n\r\n'.encode()
    line = b'{"text": "' + b"x" * (MIB - 13) + b'"}\n'
    for _ in range(file_bytes // MIB):
        yield line
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(client: httpx.Client, file_bytes: int) -> httpx.Response:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return client.post("/v1/files", content=form(file_bytes), headers=headers)


def test_512_mib_cost_less_than_32(process: Process) -> None:
    assert upload(process.client, MIB).status_code == 200
    before = process.peak_bytes()
    answer = upload(process.client, 512 * MIB)
    assert answer.json()["bytes"] == 512 * MIB
    assert process.peak_bytes() - before < 32 * MIB
    with process.client.stream("GET", f"/v1/files/{answer.json()['id']}/content") as download:
        assert sum(len(chunk) for chunk in download.iter_bytes()) == 512 * MIB
    assert process.peak_bytes() - before < 32 * MIB


def part(part_bytes: int) -> Iterator[bytes]:
    """A multipart body with a part of an upload, a MiB at a time."""
    disposition = 'Content-Disposition: form-data; name="data"; filename="upload"'
    yield f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
    for _ in range(part_bytes // MIB):
        yield b"x" * MIB
    yield b"x" * (part_bytes % MIB)
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def test_512_mib_in_parts_cost_less_than_32(process: Process, home: Path) -> None:
    assert upload(process.client, MIB).status_code == 200
    size, headers = 512 * MIB, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    body = {"filename": "a", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": size}
    path = f"/v1/uploads/{process.client.post('/v1/uploads', json=body).json()['id']}"

    def send(part_bytes: int) -> httpx.Response:
        return process.client.post(f"{path}/parts", content=part(part_bytes), headers=headers)

    before = process.peak_bytes()
    refused = send(64 * MIB + 1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "part_too_large")
    with ThreadPoolExecutor(2) as pool:
        parts = [sent.json()["id"] for sent in pool.map(send, [64 * MIB] * 8)]
    done = process.client.post(f"{path}/complete", json={"part_ids": parts}).json()
    assert process.peak_bytes() - before < 32 * MIB
    assert process.client.get(f"/v1/files/{done['file']['id']}").json()["bytes"] == size
    kept = [file for file in home.rglob("*") if file.is_file() and file.stat().st_size > MIB]
    assert [file.stat().st_size for file in kept] == [size]


def test_one_byte_more_is_refused_and_leaves_nothing(process: Process, home: Path) -> None:
    before = process.peak_bytes()
    answer = upload(process.client, 513 * MIB)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "file_too_large"
    assert process.peak_bytes() - before < 32 * MIB
    assert list((home / "storage" / "files").iterdir()) == []


def test_an_upload_broken_off_leaves_nothing(process: Process, home: Path) -> None:
    files = home / "storage" / "files"

    def broken_off() -> Iterator[bytes]:
        yield from itertools.islice(form(64 * MIB), 32)
        # More than sockets hold, so that the server must have begun to write.
        assert list(files.iterdir())
        raise ConnectionAbortedError

    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with pytest.raises(ConnectionAbortedError):
        process.client.post("/v1/files", content=broken_off(), headers=headers)
    assert process.client.get("/v1/files").json()["data"] == []
    deadline = time.monotonic() + 10
    while list(files.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(files.iterdir()) == []
