"""A request that asks for another protocol is read to its end, and the next one after it."""

from __future__ import annotations

import pytest
from httptools import HttpParserError, HttpParserUpgrade

from pando_api.request_parser import RequestParser

UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
NEXT = b"GET /next HTTP/1.1\r\n\r\n"


class Connection:
    """Keeps what it is told, as a connection of uvicorn's does."""

    def __init__(self) -> None:
        self.parser = RequestParser(self)
        self.requests: list[tuple[bytes, bytes, bytes]] = []
        self._again: bytes | None = None

    def on_message_begin(self) -> None:
        self.url, self.body, self.headers = b"", b"", list[tuple[bytes, bytes]]()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.asks_for_another_protocol:
            kept = [name + b": " + value for name, value in self.headers if name != b"Upgrade"]
            line = self.parser.get_method() + b" " + self.url + b" HTTP/1.1"
            self._again = b"\r\n".join((line, *kept, b"", b""))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self._again is None:
            self.requests.append((self.parser.get_method(), self.url, self.body))

    def head_without_upgrade(self) -> bytes | None:
        head, self._again = self._again, None
        return head


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_its_body_is_its_own(body: bytes, piece: int) -> None:
    connection = Connection()
    sent = b"POST /first HTTP/1.1\r\n" + UPGRADE + body + NEXT
    for start in range(0, len(sent), piece):
        connection.parser.feed_data(sent[start : start + piece])
    assert connection.requests == [(b"POST", b"/first", b"hello"), (b"GET", b"/next", b"")]


def test_many_in_one_piece() -> None:
    connection = Connection()
    connection.parser.feed_data((b"GET /first HTTP/1.1\r\n" + UPGRADE + b"\r\n") * 2000 + NEXT)
    assert len(connection.requests) == 2001


def test_a_tunnel_is_none() -> None:
    connection = Connection()
    with pytest.raises(HttpParserUpgrade):
        connection.parser.feed_data(b"CONNECT /first HTTP/1.1\r\n\r\n" + NEXT)


def test_noise_is_told() -> None:
    with pytest.raises(HttpParserError):
        Connection().parser.feed_data(b"\x16\x03\x01")
