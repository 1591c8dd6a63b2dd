"""Somebody's server that takes webhooks, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from post_server import answering_posts


@dataclass
class Receiver:
    """Answers with `statuses` in turn, then 200; remembers what came."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    receiver = Receiver(list(statuses))

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        receiver.received.append(({k.lower(): v for k, v in request.headers.items()}, body))
        status = receiver.statuses.pop(0) if receiver.statuses else 200
        request.send_response(status)
        if status in (301, 307):
            request.send_header("Location", "http://127.0.0.1:1/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with answering_posts(answer) as url:
        receiver.url = f"{url}/hook"
        yield receiver
