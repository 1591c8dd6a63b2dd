"""An answer of many bytes that are read while they are sent: a file, an archive."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pando_shared.settings import KIB

#: Read at a time. A client that does not read holds two: one that it was sent, and the next.
CHUNK_BYTES = 128 * KIB


class StreamedBytes(StreamingResponse):
    """Closes what it reads from also when the client goes away: collecting garbage may take long,
    and until then files would be open."""

    def __init__(
        self, chunks: Generator[bytes, None, None], media_type: str, headers: Mapping[str, str]
    ):
        super().__init__(chunks, media_type=media_type, headers=headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._chunks.close()
