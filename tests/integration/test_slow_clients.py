"""Clients that say little, too much or nothing hold neither connections nor files of a real API."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from api_server import ApiServer, serving
from factories import make_job
from redis_process import RedisProcess

from pando_shared.api_keys import new_api_key
from pando_shared.settings import KIB
from pando_shared.store.redis import RedisStore

STALL_SECONDS = 1.0
FORM = (
    b"--b\r\nContent-Disposition: form-data; name=purpose\r\n\r\nfine-tune\r\n"
    b'--b\r\nContent-Disposition: form-data; name=file; filename="t.jsonl"\r\n\r\n'
)
END = b"\r\n--b--\r\n"


@dataclass
class Site:
    server: ApiServer
    storage: Path
    secret: str
    job_id: str

    def head(self, method: str, path: str, *headers: str, secret: str | None = None) -> bytes:
        key = f"Authorization: Bearer {secret or self.secret}"
        return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", key, *headers, "", "")).encode()

    def upload_head(self, size: int, secret: str | None = None) -> bytes:
        kind = "Content-Type: multipart/form-data; boundary=b"
        length = f"Content-Length: {len(FORM) + size + len(END)}"
        return self.head("POST", "/v1/files", kind, length, secret=secret)

    def connect(self) -> socket.socket:
        address = urlsplit(self.server.url)
        return socket.create_connection((address.hostname, address.port), timeout=30)

    def files(self) -> list[Path]:
        """Whatever there is in storage, finished or not, but for keys and jobs."""
        return [path for path in (self.storage / "files").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def site(redis_process: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = redis_process.url
    storage = tmp_path_factory.mktemp("storage")
    store = RedisStore(url)
    secret, key = new_api_key("acme", "test", 0.0)
    store.put_key(key)
    job = store.create_job(make_job(tenant="acme"))
    store.close()
    seconds = str(STALL_SECONDS)
    with serving(url, f"file://{storage}", PANDO_STALL_SECONDS=seconds) as server:
        yield Site(server, storage, secret, job.id)


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def trickle(connection: socket.socket, pieces: Iterable[bytes], pause: float) -> float:
    """Send them until the server hangs up; returns the seconds until it did."""
    began = time.monotonic()
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
            assert time.monotonic() - began < 20 * STALL_SECONDS, "it goes on for ever"
    return time.monotonic() - began


def test_who_says_nothing_is_hung_up_on(site: Site) -> None:
    began = time.monotonic()
    with closing(site.connect()) as connection:
        assert answer_of(connection).startswith(b"HTTP/1.1 408 ")
    assert STALL_SECONDS * 0.9 < time.monotonic() - began < STALL_SECONDS * 5


def test_a_head_that_trickles_is_cut_off(site: Site) -> None:
    with closing(site.connect()) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        seconds = trickle(connection, repeat(b"X-A: b\r\n"), 0.1)
    assert seconds < STALL_SECONDS * 5


def test_a_body_that_stalls_leaves_no_file(site: Site) -> None:
    before = site.files()
    with closing(site.connect()) as connection:
        connection.sendall(site.upload_head(3 << 20) + FORM + b"x" * (2 << 20))
        # It is being written by now, under a name that nobody reads.
        deadline = time.monotonic() + STALL_SECONDS
        while site.files() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert site.files() != before
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error":{"message":"the request\'s body did not come on within 1 seconds' in answer
    wait_for_none_but(site, before)


def test_a_body_that_trickles_leaves_no_file(site: Site) -> None:
    before = site.files()
    with closing(site.connect()) as connection:
        connection.sendall(site.upload_head(1 << 20) + FORM)
        seconds = trickle(connection, repeat(b"x" * 100), 0.1)
    assert seconds < STALL_SECONDS * 5
    wait_for_none_but(site, before)


def test_json_that_stalls_is_cut_off(site: Site) -> None:
    kind = "Content-Type: application/json"
    with closing(site.connect()) as connection:
        head = site.head("POST", "/v1/fine_tuning/jobs", kind, "Content-Length: 100")
        connection.sendall(head + b'{"model":')
        assert answer_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_refused_body_that_trickles_is_cut_off(site: Site) -> None:
    with closing(site.connect()) as connection:
        connection.sendall(site.upload_head(1 << 20, secret="sk-pando-wrong") + FORM)
        seconds = trickle(connection, repeat(b"x"), 0.1)
    assert seconds < STALL_SECONDS * 5


def test_a_slow_body_that_comes_on_is_taken(site: Site) -> None:
    pieces = 25
    with closing(site.connect()) as connection:
        connection.sendall(site.upload_head(pieces * 8 * KIB) + FORM)
        for _ in range(pieces):
            connection.sendall(b"x" * 8 * KIB)
            time.sleep(STALL_SECONDS / 10)
        connection.sendall(END)
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")


def test_a_stream_where_nothing_happens_goes_on(site: Site) -> None:
    path = f"/v1/fine_tuning/jobs/{site.job_id}/events?stream=true"
    with closing(site.connect()) as connection:
        connection.sendall(site.head("GET", path))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.settimeout(3 * STALL_SECONDS)
        with pytest.raises(TimeoutError):
            answer_of(connection)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X-Many: b\r\n" * 10_000 + b"\r\n",
    ],
    ids=["endless", "value", "path", "many"],
)
def test_a_head_that_is_too_long_is_refused(site: Site, head: bytes) -> None:
    with closing(site.connect()) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head)
        assert answer_of(connection)[:13] in (b"HTTP/1.1 431 ", b"")
    assert httpx.get(f"{site.server.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00", b"\r\n\r\nhello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_noise_is_refused(site: Site, noise: bytes) -> None:
    with closing(site.connect()) as connection:
        connection.sendall(noise)
        assert answer_of(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408")


def wait_for_none_but(site: Site, before: list[Path]) -> None:
    """Clearing away may take a moment after the connection is gone."""
    deadline = time.monotonic() + 5
    while site.files() != before:
        assert time.monotonic() < deadline, f"left behind: {site.files()}"
        time.sleep(0.05)
