"""Reading requests that ask for another protocol as the requests they are.

Some clients ask for HTTP/2 with every first request, also with one that has a body (Java's does).
Whoever does not change the protocol is to go on as if nothing had been asked (RFC 9110, 7.8).
httptools cannot: it takes what follows the head for the other protocol, and so loses the body, or
would read it as a request of its own, which a proxy in front has not seen as one.
"""

from __future__ import annotations

from typing import Protocol

from httptools import HttpParserUpgrade, HttpRequestParser


class UpgradeAsked(Protocol):
    """What the parser tells about requests, and asks."""

    def head_without_upgrade(self) -> bytes | None:
        """The head that was read last, if it asked for another protocol: as it would be if not."""


class RequestParser:
    """As much of httptools' parser as uvicorn uses."""

    def __init__(self, told: UpgradeAsked):
        self._told = told
        self._parser = _parser(told)

    def feed_data(self, data: bytes) -> None:
        """Raises what httptools does; HttpParserUpgrade only after a CONNECT."""
        rest = memoryview(data)
        while True:
            try:
                return self._parser.feed_data(rest)
            except HttpParserUpgrade as upgrade:
                head = self._told.head_without_upgrade()
                if head is None:
                    raise
                self._parser = _parser(self._told)
                self._parser.feed_data(head)
                rest = rest[upgrade.args[0] :]

    @property
    def asks_for_another_protocol(self) -> bool:
        return bool(self._parser.should_upgrade()) and self.get_method() != b"CONNECT"

    def should_upgrade(self) -> bool:
        return False

    def should_keep_alive(self) -> bool:
        return bool(self._parser.should_keep_alive())

    def get_http_version(self) -> str:
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        return self._parser.get_method()


def _parser(told: UpgradeAsked) -> HttpRequestParser:
    parser = HttpRequestParser(told)
    # As uvicorn's own: what follows a request that closes the connection is no error.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
