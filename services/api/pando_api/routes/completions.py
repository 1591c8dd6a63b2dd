"""/v1/completions: try a base or an adapter on a text."""

from __future__ import annotations

from typing import Literal, cast

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from pando_api.answers import EVENT_STREAM, LONG, body_of
from pando_api.dependencies import HOLD_A_STREAM, ServicesDep, TenantDep
from pando_api.sample_stream import stream_sample
from pando_api.sampling import read_sample, request_sample
from pando_api.schemas.completions import Completion, CompletionChoice, CompletionCreate
from pando_api.schemas.usage import Usage
from pando_shared.errors import InvalidRequest
from pando_shared.workers import SampleChunk

router = APIRouter(prefix="/v1", tags=["sampling"])


@router.post(
    "/completions",
    response_model=Completion,
    responses=body_of(EVENT_STREAM) | LONG,
    dependencies=[HOLD_A_STREAM],
)
async def create_completion(
    body: CompletionCreate, services: ServicesDep, tenant: TenantDep
) -> Completion | Response:
    prompt = _one_prompt(body.prompt)
    sample = await run_in_threadpool(request_sample, services, tenant, body, prompt=prompt)
    created = int(services.clock.now())
    completion_id = f"cmpl-{sample.id.removeprefix('sample-')}"

    def answer(choices: list[CompletionChoice], usage: Usage | None = None) -> Completion:
        return Completion(
            id=completion_id, created=created, model=body.model, choices=choices, usage=usage
        )

    def piece(chunk: SampleChunk) -> Completion:
        return answer([_choice(chunk.text, chunk.finish_reason)])

    chunks = read_sample(services, sample)
    if body.stream:
        usage = (lambda last: answer([], Usage.of(last))) if body.wants_usage else None
        return await stream_sample(chunks, piece, usage)
    seen = [chunk async for chunk in chunks]
    text = "".join(chunk.text for chunk in seen)
    return answer([_choice(text, seen[-1].finish_reason)], Usage.of(seen[-1]))


def _choice(text: str, finish_reason: str | None) -> CompletionChoice:
    reason = cast(Literal["stop", "length"] | None, finish_reason)
    return CompletionChoice(text=text, finish_reason=reason)


def _one_prompt(prompt: str | list[str]) -> str:
    if isinstance(prompt, str):
        return prompt
    if len(prompt) != 1:
        raise InvalidRequest(f"prompt must be one text, got {len(prompt)}", param="prompt")
    return prompt[0]
