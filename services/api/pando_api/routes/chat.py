"""/v1/chat/completions: talk to a base or an adapter; the worker applies the chat template."""

from __future__ import annotations

from typing import Literal, cast

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from pando_api.answers import EVENT_STREAM, LONG, body_of
from pando_api.dependencies import HOLD_A_STREAM, ServicesDep, TenantDep
from pando_api.sample_stream import stream_sample
from pando_api.sampling import read_sample, request_sample
from pando_api.schemas.chat import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatCreate,
    ChatDelta,
    ChatMessage,
)
from pando_api.schemas.usage import Usage
from pando_shared.workers import SampleChunk

router = APIRouter(prefix="/v1", tags=["sampling"])

FinishReason = Literal["stop", "length"]


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses=body_of(EVENT_STREAM) | LONG,
    dependencies=[HOLD_A_STREAM],
)
async def create_chat_completion(
    body: ChatCreate, services: ServicesDep, tenant: TenantDep
) -> ChatCompletion | Response:
    messages = tuple((message.template_role, message.text) for message in body.messages)
    sample = await run_in_threadpool(request_sample, services, tenant, body, messages=messages)
    created = int(services.clock.now())
    completion_id = f"chatcmpl-{sample.id.removeprefix('sample-')}"
    chunks = read_sample(services, sample)
    if body.stream:

        def piece(chunk: SampleChunk) -> ChatChunk:
            delta = ChatDelta(role="assistant", content=chunk.text)
            reason = cast(FinishReason | None, chunk.finish_reason)
            return wrap([ChatChunkChoice(delta=delta, finish_reason=reason)])

        def wrap(choices: list[ChatChunkChoice], usage: Usage | None = None) -> ChatChunk:
            return ChatChunk(
                id=completion_id, created=created, model=body.model, choices=choices, usage=usage
            )

        usage = (lambda last: wrap([], Usage.of(last))) if body.wants_usage else None
        return await stream_sample(chunks, piece, usage)
    seen = [chunk async for chunk in chunks]
    message = ChatMessage(content="".join(chunk.text for chunk in seen))
    reason = cast(FinishReason, seen[-1].finish_reason)
    return ChatCompletion(
        id=completion_id,
        created=created,
        model=body.model,
        choices=[ChatChoice(message=message, finish_reason=reason)],
        usage=Usage.of(seen[-1]),
    )
