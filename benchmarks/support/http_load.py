"""Load on an HTTP server with few cycles of one's own: sockets, and headers read by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any


@dataclass(frozen=True)
class Form:
    """A file to upload, with the fields beside it."""

    fields: Mapping[str, str]
    filename: str
    content: bytes

    def encoded(self, boundary: str) -> bytes:
        edge = f"--{boundary}\r\nContent-Disposition: form-data; name="
        fields = "".join(f'{edge}"{name}"\r\n\r\n{text}\r\n' for name, text in self.fields.items())
        head = f'{fields}{edge}"file"; filename="{self.filename}"\r\n\r\n'
        return head.encode() + self.content + f"\r\n--{boundary}--\r\n".encode()


@dataclass(frozen=True)
class Request:
    """`body` is sent as JSON, unless it is a form."""

    method: str
    path: str
    body: Any = None

    def encoded(self) -> tuple[str, bytes]:
        """Its type and its bytes."""
        if isinstance(self.body, Form):
            return "multipart/form-data; boundary=edge", self.body.encoded("edge")
        return "application/json", b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Load:
    """What a load came to. `requests` were answered with 200; seconds are of one request."""

    requests: int
    per_second: float
    p50_seconds: float
    p99_seconds: float


class Connection:
    """One kept-alive connection; requests one after the other."""

    def __init__(self, port: int, key: str):
        self._port, self._key = port, key
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def _send(self, request: Request) -> dict[str, str]:
        """Headers of the answer. Raises RuntimeError for any but 200."""
        kind, body = request.encoded()
        head = (
            f"{request.method} {request.path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        if " 200 " not in status:
            raise RuntimeError(f"{request.method} {request.path}: {status}")
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    async def ask(self, request: Request) -> bytes:
        headers = await self._send(request)
        return await self._reader.readexactly(int(headers["content-length"]))

    async def listen(self, path: str, heard: Callable[[], None]) -> None:
        """Call `heard` for every server-sent event, until cancelled."""
        await self._send(Request("GET", path))
        while line := await self._reader.readline():
            if line.startswith(b"id:"):
                heard()


async def load(
    port: int, key: str, requests: Iterator[Request], connections: int, seconds: float
) -> Load:
    """As many as are answered in so many seconds, each connection asking when it has an answer."""
    taken: list[float] = []
    began = time.perf_counter()

    async def work() -> None:
        async with Connection(port, key) as connection:
            while (start := time.perf_counter()) < began + seconds:
                await connection.ask(next(requests))
                taken.append(time.perf_counter() - start)

    await asyncio.gather(*(work() for _ in range(connections)))
    whole = time.perf_counter() - began
    taken.sort()
    middle, late = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    return Load(len(taken), len(taken) / whole, middle, late)


def reads(job_ids: list[str]) -> Iterator[Request]:
    """Each job in turn, for ever."""
    for number in count():
        yield Request("GET", f"/v1/fine_tuning/jobs/{job_ids[number % len(job_ids)]}")


def creates(file_id: str) -> Iterator[Request]:
    body = {"model": "tiny", "training_file": file_id}
    while True:
        yield Request("POST", "/v1/fine_tuning/jobs", body)
