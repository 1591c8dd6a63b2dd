"""A sample as server-sent events, the way the stock client reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from pando_api.errors import detail_of
from pando_api.schemas.errors import ErrorBody
from pando_shared.errors import PandoError
from pando_shared.workers import SampleChunk


async def stream_sample(
    chunks: AsyncIterator[SampleChunk],
    piece: Callable[[SampleChunk], BaseModel],
    usage: Callable[[SampleChunk], BaseModel] | None,
) -> EventSourceResponse:
    """Answer with `piece(chunk)` for every chunk, then `usage(last chunk)` if asked for.

    Waits for the first chunk, so that whatever is wrong from the start still has its own status.
    """
    first = await anext(chunks)

    async def events() -> AsyncIterator[ServerSentEvent]:
        last = first
        yield _event(piece(first))
        try:
            async for chunk in chunks:
                last = chunk
                yield _event(piece(chunk))
        except PandoError as error:
            yield _event(ErrorBody(error=detail_of(error)))
            return
        if usage is not None:
            yield _event(usage(last))
        yield ServerSentEvent("[DONE]")

    return EventSourceResponse(events())


def _event(body: BaseModel) -> ServerSentEvent:
    return ServerSentEvent(body.model_dump_json())
