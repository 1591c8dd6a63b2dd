"""A connection that cannot be held open by saying or reading little, nor fill memory with a head.

uvicorn closes connections that are idle between two requests, and waits for ever within one. Here
a request's head has to arrive within a while, and a body has to keep coming; who stalls is told so
(408), and the connection is closed. To whatever was reading the request that is a client that went
away, so that it leaves nothing behind. Answers, such as streams of events, may take their time; but
who takes nothing of one is hung up on, and where there is no room for another connection, the one
that has waited longest without a request goes.
"""

from __future__ import annotations

import logging
from asyncio import BaseTransport, TimerHandle, Transport
from http import HTTPStatus
from typing import Any, cast

from httptools import HttpRequestParser
from pydantic_core import to_json
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pando_api.idle_connections import IdleConnections
from pando_api.request_parser import RequestParser
from pando_api.schemas.errors import ErrorBody, ErrorDetail
from pando_api.unread_answer import UnreadAnswer, bound_unsent
from pando_shared.settings import KIB

log = logging.getLogger(__name__)

#: Request line and headers; a key, cookies and what proxies add are a few KiB.
MAX_HEAD_BYTES = 64 * KIB
#: A body that goes on has to bring this much in each window; 546 bytes a second in a minute's.
MIN_WINDOW_BYTES = 32 * KIB


class _HeadTooLarge(Exception):
    """Aborts the parser."""


class _Flow(FlowControl):
    """Remembers whether the client was made to wait: what it did not send then is not its fault;
    and whether it has taken of its answer what makes room for more."""

    def __init__(self, transport: Transport, unread: UnreadAnswer):
        super().__init__(transport)
        self.was_paused = False
        self._unread = unread

    def pause_reading(self) -> None:
        self.was_paused = True
        super().pause_reading()

    def resume_writing(self) -> None:
        self._unread.moved()
        super().resume_writing()


class BoundedConnection(HttpToolsProtocol):
    """`bounded(seconds)` makes the class that uvicorn wants."""

    stall_seconds: float
    idle: IdleConnections[BoundedConnection]

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.parser = cast(HttpRequestParser, RequestParser(self))
        self._without_upgrade: bytes | None = None
        self._timer: TimerHandle | None = None
        self._answer_timer: TimerHandle | None = None
        self._unread = UnreadAnswer()
        self._head = True
        self._head_bytes = 0
        self._head_too_large = False
        self._window_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self.flow = _Flow(cast(Transport, transport), self._unread)
        bound_unsent(transport.get_extra_info("socket"))
        self._make_room()
        self.idle.add_new(self)
        self._open_window()
        self._watch_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.remove(self)
        self._close_window()
        if self._answer_timer is not None:
            self._answer_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._window_bytes += len(data)
        if self._head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._open_window()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._head_too_large = True
            raise _HeadTooLarge
        if cast(RequestParser, self.parser).asks_for_another_protocol:
            self._without_upgrade = self._head_as_it_would_be()
            return
        self._head = False
        self._head_bytes = 0
        self.idle.remove(self)
        if not self.flow.write_paused:
            self._unread.moved()
        super().on_headers_complete()
        self._open_window()

    def on_message_complete(self) -> None:
        if self._without_upgrade is not None:
            return
        self._close_window()
        self._head = True
        super().on_message_complete()

    def head_without_upgrade(self) -> bytes | None:
        head, self._without_upgrade = self._without_upgrade, None
        return head

    def _head_as_it_would_be(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.idle.add_served(self)

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it for whatever the parser refuses."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._end(HTTPStatus.BAD_REQUEST, "this is no HTTP request")

    def _refuse_head(self) -> None:
        message = f"the request's line and headers have more than {MAX_HEAD_BYTES} bytes"
        self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def _open_window(self) -> None:
        self._close_window()
        self._window_bytes = 0
        cast(_Flow, self.flow).was_paused = self.flow.read_paused
        self._timer = self.loop.call_later(self.stall_seconds, self._look)

    def _close_window(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """A window is over, and the request is still not here."""
        unread = self.cycle is not None and not self.cycle.response_complete and self.cycle.body
        if unread or cast(_Flow, self.flow).was_paused:
            self._open_window()
        elif self._head or self._window_bytes < MIN_WINDOW_BYTES:
            part = "head" if self._head else "body"
            log.info("a request's %s did not come within %g s", part, self.stall_seconds)
            message = f"the request's {part} did not come on within {self.stall_seconds:g} seconds"
            self._end(HTTPStatus.REQUEST_TIMEOUT, message)
        else:
            self._open_window()

    def _watch_answer(self) -> None:
        self._answer_timer = self.loop.call_later(self.stall_seconds, self._look_at_answer)

    def _look_at_answer(self) -> None:
        """Also after the last byte was written, and while the connection closes: it does not before
        all is sent."""
        is_written = self.cycle is not None and not self.cycle.response_complete
        may_grow = is_written and not self.flow.write_paused
        if self._unread.has_stalled(self.transport.get_write_buffer_size(), may_grow=may_grow):
            log.info("a client took nothing of its answer for %g s", self.stall_seconds)
            self.transport.abort()
        else:
            self._watch_answer()

    def _make_room(self) -> None:
        """Beyond the limit uvicorn answers 503: not for the sake of those that ask nothing."""
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            longest = self.idle.take_first()
            if longest is not None:
                longest.transport.abort()
                # Not only once the loop comes to it: the next request may come before that.
                self.connections.discard(longest)

    def _end(self, status: HTTPStatus, message: str) -> None:
        """Hang up; with this answer, unless another has begun."""
        self._close_window()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_answer(status, message))
        self.transport.close()


def bounded(stall_seconds: float) -> type[BoundedConnection]:
    """The class of connections whose requests come on, and answers are taken, within so long."""
    own = {"stall_seconds": stall_seconds, "idle": IdleConnections[BoundedConnection]()}
    return type("Connection", (BoundedConnection,), own)


def _answer(status: HTTPStatus, message: str) -> bytes:
    detail = ErrorDetail(message=message, type="invalid_request_error", param=None, code=None)
    body = to_json(ErrorBody(error=detail))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body
