"""What is no proper request, or a rare one, is answered by a real API, and holds nothing up."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from api_server import ApiServer, serving
from redis_process import RedisProcess

from pando_shared.api_keys import new_api_key
from pando_shared.store.redis import RedisStore

SECRET, KEY = new_api_key("acme", "test", 0.0)
COMMON = b"Host: x\r\nAuthorization: Bearer %s\r\n" % SECRET.encode()
CLOSE = COMMON + b"Connection: close\r\n"
POST = b"POST /v1/fine_tuning/estimate HTTP/1.1\r\nContent-Type: application/json\r\n"
LAST = b"GET /v1/files HTTP/1.1\r\n" + CLOSE + b"\r\n"
#: As Java's client asks with every first request.
UPGRADE = COMMON + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
LENGTH, CHUNKED = b"Content-Length: 2\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def server(
    redis_process: RedisProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    store = RedisStore(redis_process.url)
    store.put_key(KEY)
    store.close()
    root = f"file://{tmp_path_factory.mktemp('storage')}"
    with serving(redis_process.url, root, PANDO_STALL_SECONDS="1") as server:
        yield server


def received(server: ApiServer, *sent: bytes) -> bytes:
    """All that comes until the server hangs up."""
    address = urlsplit(server.url)
    found = b""
    connection = socket.create_connection((address.hostname, address.port), 20)
    with closing(connection), suppress(BrokenPipeError, ConnectionResetError):
        for data in sent:
            connection.sendall(data)
        while data := connection.recv(65536):
            found += data
    return found


def answers(server: ApiServer, *sent: bytes) -> list[int]:
    """The statuses of all that comes."""
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", received(server, *sent))
    return [int(status) for status in statuses]


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        b"Content-Length: 2, 2\r\n\r\n{}",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: -2\r\n\r\n{}",
        b"Content-Length: 0x2\r\n\r\n{}",
        b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
        b"Content-Length: 5\r\n" + CHUNKED + CHUNKS,
        b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS,
        b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
        b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
        CHUNKED + b"FFFFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\n{}\n0\n\n",
        b"X-Folded: a\r\n b\r\n" + LENGTH + b"{}",
        b"X-Return: a\rb\r\n" + LENGTH + b"{}",
        b"X-Nul: a\0b\r\n" + LENGTH + b"{}",
    ],
)
def test_a_request_whose_end_is_in_doubt_is_refused(server: ApiServer, framing: bytes) -> None:
    """And what follows it is not taken for a request."""
    assert answers(server, POST + COMMON + framing + LAST) == [400]


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"GET http://elsewhere/v1/files HTTP/1.1", [200]),
        (b"GET http://elsewhere HTTP/1.1", [400]),
        (b"GET http://a:b@elsewhere:99999/v1/files HTTP/1.1", [400]),
        (b"GET //elsewhere/v1/files HTTP/1.1", [404]),
        (b"GET v1/files HTTP/1.1", [400]),
        (b"GET /v1/files/%ff%00%0d%0a HTTP/1.1", [404]),
        (b"GET /v1/files/\xff HTTP/1.1", [400]),
        (b"GET /v1/files/%zz HTTP/1.1", [404]),
        (b"GET /v1/files/" + b"a" * 60_000 + b" HTTP/1.1", [404]),
        (b"GET /v1/files/" + b"a" * 70_000 + b" HTTP/1.1", [431]),
        (b"GET /v1/files HTTP/1.0", [200]),
        (b"CONNECT elsewhere:443 HTTP/1.1", [400]),
        (b"OPTIONS * HTTP/1.1", [404]),
        (b"PRI * HTTP/2.0", [400]),
    ],
)
def test_an_odd_target_is_answered(server: ApiServer, line: bytes, statuses: list[int]) -> None:
    assert answers(server, line + b"\r\n" + CLOSE + b"\r\n") == statuses


def test_other_methods_are_answered_on_every_route(server: ApiServer) -> None:
    routes = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    with httpx.Client(base_url=server.url, timeout=20) as client:
        for route in routes:
            path = re.sub(r"\{\w+\}", "x", route)
            for method in ("HEAD", "OPTIONS", "TRACE", "PATCH"):
                assert client.request(method, path).status_code == 405, (method, path)


def test_requests_that_follow_each_other_are_all_answered(server: ApiServer) -> None:
    assert (
        answers(server, (b"GET /healthz HTTP/1.1\r\n" + COMMON + b"\r\n") * 50 + LAST) == [200] * 51
    )


@pytest.mark.parametrize("body", [LENGTH + b"{}", CHUNKED + CHUNKS], ids=["length", "chunks"])
def test_who_asks_for_another_protocol_is_answered_in_this_one(
    server: ApiServer, body: bytes
) -> None:
    """The body belongs to its request: it is read, and never taken for the next one."""
    plain = httpx.post(
        f"{server.url}/v1/fine_tuning/estimate",
        json={},
        headers={"Authorization": f"Bearer {SECRET}"},
    )
    assert b"model" in plain.content
    assert plain.content in received(server, POST + UPGRADE + body + LAST)
    assert answers(server, POST + UPGRADE + body + LAST) == [400, 200]
    head, _, rest = (POST + UPGRADE + body).partition(b"\r\n\r\n")
    assert answers(server, head + b"\r\n\r\n", rest, LAST) == [400, 200]


def test_a_body_is_no_request(server: ApiServer) -> None:
    hidden = b"GET /v1/files HTTP/1.1\r\n" + COMMON + b"\r\n"
    head = POST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(hidden)
    assert answers(server, head + hidden + LAST) == [400, 200]
    assert (
        answers(server, (b"GET /healthz HTTP/1.1\r\n" + UPGRADE + b"\r\n") * 50 + LAST)
        == [200] * 51
    )
