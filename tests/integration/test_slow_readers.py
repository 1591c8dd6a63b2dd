"""Clients that read little or nothing, and tenants that open much, against a real API."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from api_server import ApiServer, serving
from factories import make_job
from redis_process import RedisProcess

from pando_shared import layout
from pando_shared.api_keys import new_api_key
from pando_shared.records import Event, FileRecord, ModelRecord
from pando_shared.settings import KIB, MIB
from pando_shared.storage import Storage
from pando_shared.store.redis import RedisStore

STALL_SECONDS = 1.0
STREAMS = 20
SIZE = 32 * MIB
FILE_ID, MODEL = "file-large", "ft:tiny:acme::large"


@dataclass
class Site:
    server: ApiServer
    secret: str
    other: str
    job_id: str
    chatty_job_id: str

    def ask(self, path: str, *, window: int = 4096) -> socket.socket:
        """Connect, ask as acme, and read nothing yet."""
        address = urlsplit(self.server.url)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.settimeout(30)
        connection.connect((address.hostname, address.port))
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.secret}\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    def get(self, path: str, secret: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{self.server.url}{path}", headers=headers, timeout=30)

    def events(self, job_id: str) -> str:
        return f"/v1/fine_tuning/jobs/{job_id}/events?stream=true"

    @property
    def process(self) -> psutil.Process:
        assert self.server.process is not None
        return psutil.Process(self.server.process.pid)

    def open_files(self) -> list[str]:
        """Of storage."""
        root = urlsplit(self.server.storage_url).path
        return [file.path for file in self.process.open_files() if file.path.startswith(root)]

    def connections(self) -> int:
        found = self.process.net_connections("tcp")
        return sum(c.status == "ESTABLISHED" and c.laddr.port == self.server.port for c in found)

    def wait_for_connections(self, wanted: int) -> None:
        deadline = time.monotonic() + 30
        while (found := self.connections()) != wanted:
            assert time.monotonic() < deadline, f"{found} connections, not {wanted}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def site(redis_process: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = redis_process.url
    root = f"file://{tmp_path_factory.mktemp('storage')}"
    store, storage = RedisStore(url), Storage(root)
    secret, key = new_api_key("acme", "test", 0.0)
    other, other_key = new_api_key("other", "test", 0.0)
    store.put_key(key)
    store.put_key(other_key)
    job, chatty = (
        store.create_job(make_job(tenant="acme")),
        store.create_job(make_job(tenant="acme")),
    )
    for _ in range(4):
        store.append_events(chatty.id, [Event(1.0, "x" * 1000) for _ in range(1000)])
    store.put_file(FileRecord(FILE_ID, "acme", "large.jsonl", "fine-tune", SIZE, 1.0))
    storage.write(layout.file_content(FILE_ID), bytes(SIZE))
    storage.write("jobs/large/export/adapter_model.safetensors", bytes(SIZE))
    store.put_model(ModelRecord(MODEL, "acme", "tiny", job.id, "lora", "jobs/large/export", 0.0))
    store.close()
    limits = {"PANDO_STALL_SECONDS": str(STALL_SECONDS), "PANDO_STREAMS_PER_TENANT": str(STREAMS)}
    with serving(url, root, **limits) as server:
        yield Site(server, secret, other, job.id, chatty.id)


LARGE = {
    "file": f"/v1/files/{FILE_ID}/content",
    "tar": f"/v1/models/{MODEL}/content",
    "zip": f"/v1/models/{MODEL}/content?format=zip",
    "events": "",
}


@pytest.fixture(params=LARGE)
def path(request: pytest.FixtureRequest, site: Site) -> str:
    return LARGE[request.param] or site.events(site.chatty_job_id)


def test_who_reads_nothing_is_hung_up_on_and_leaves_nothing(site: Site, path: str) -> None:
    site.wait_for_connections(0)
    with ExitStack() as held:
        began = time.monotonic()
        for _ in range(STREAMS):
            held.enter_context(closing(site.ask(path)))
        site.wait_for_connections(STREAMS)
        site.wait_for_connections(0)
        assert time.monotonic() - began > STALL_SECONDS
    assert not site.open_files()
    # Their places are free again.
    assert site.get("/v1/files", site.secret).status_code == 200
    with closing(site.ask(path, window=MIB)) as connection:
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")


def test_little_is_held_for_who_reads_nothing(site: Site, path: str) -> None:
    """32 MiB each are asked for; events 4 MiB."""
    with closing(site.ask(path, window=MIB)) as connection:
        connection.recv(20)
    before = site.process.memory_info().rss
    with ExitStack() as held:
        for _ in range(STREAMS):
            held.enter_context(closing(site.ask(path)))
        site.wait_for_connections(STREAMS)
        time.sleep(STALL_SECONDS / 2)
        each = (site.process.memory_info().rss - before) / STREAMS
    assert each < 2 * MIB, f"{each / KIB:.0f} KiB"


def test_who_reads_slowly_goes_on(site: Site) -> None:
    """Four times slower than the whole would have to come within one window."""
    with closing(site.ask(LARGE["file"])) as connection:
        began, received = time.monotonic(), 0
        while time.monotonic() - began < 6 * STALL_SECONDS:
            data = connection.recv(64 * KIB)
            assert data, f"cut off after {received} bytes, {time.monotonic() - began:.1f} s"
            received += len(data)
            time.sleep(STALL_SECONDS / 20)
        assert received < SIZE


def test_a_list_that_nobody_reads_is_cut_off(site: Site) -> None:
    """It was written at once, so that for the application it has been answered."""
    site.wait_for_connections(0)
    path = f"/v1/fine_tuning/jobs/{site.chatty_job_id}/events?limit=1000"
    with closing(site.ask(path)):
        site.wait_for_connections(1)
        site.wait_for_connections(0)


def test_one_tenant_leaves_room_for_the_others(site: Site) -> None:
    site.wait_for_connections(0)
    path = site.events(site.job_id)
    with ExitStack() as held:
        streams = [held.enter_context(closing(site.ask(path))) for _ in range(STREAMS)]
        for stream in streams:
            assert stream.recv(20).startswith(b"HTTP/1.1 200 ")
        refused = site.get(path, site.secret)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "too_many_streams"
        assert refused.headers["retry-after"] == "5"
        assert site.get("/v1/files", site.secret).status_code == 200
        assert site.get("/v1/files", site.other).status_code == 200
        streams[0].close()
        deadline = time.monotonic() + 10
        while True:
            with closing(site.ask(path)) as again:
                if again.recv(20).startswith(b"HTTP/1.1 200 "):
                    break
            assert time.monotonic() < deadline, "its place was not given back"
            time.sleep(0.1)


def test_idle_connections_make_room(redis_process: RedisProcess, tmp_path: Path) -> None:
    """Of 60 that the process may hold, without a key, five times as many."""
    store = RedisStore(redis_process.url)
    secret, key = new_api_key("acme", "test", 0.0)
    store.put_key(key)
    job = store.create_job(make_job(tenant="acme"))
    store.close()
    with serving(redis_process.url, f"file://{tmp_path}") as server, ExitStack() as held:
        server.kill()
        server.starter = ("sh", "-c", 'ulimit -n 260; exec "$@"', "sh")
        server.start()
        site = Site(server, secret, secret, job.id, job.id)
        stream = held.enter_context(closing(site.ask(site.events(job.id))))
        assert stream.recv(65536).startswith(b"HTTP/1.1 200 ")
        address = ("127.0.0.1", server.port)
        for _ in range(300):
            held.enter_context(closing(socket.create_connection(address)))
        for _ in range(20):
            assert site.get("/v1/files", secret).status_code == 200
        assert site.connections() <= 60
        stream.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stream.recv(4096)
