"""Asking a worker for text and reading it as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
from anyio.to_thread import run_sync

from pando_api.errors import Expired
from pando_api.model_lookup import find_model
from pando_api.schemas.sampling import SamplingKnobs
from pando_api.services import Services
from pando_shared.catalogue import BaseModel
from pando_shared.codec import encode
from pando_shared.errors import InvalidRequest, Unavailable
from pando_shared.fleet import live_workers, offering
from pando_shared.ids import new_id
from pando_shared.workers import SampleChunk, SampleRequest, Worker

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample that a worker was asked for."""

    id: str
    worker_id: str


def request_sample(
    services: Services,
    tenant: str,
    knobs: SamplingKnobs,
    *,
    prompt: str | None = None,
    messages: tuple[tuple[str, str], ...] = (),
) -> Sample:
    """Send the request to a worker that can answer it soonest.

    Raises:
        NotFound: no such model.
        Unavailable: no worker can take it now; says what to do.
    """
    found = find_model(services, tenant, knobs.model)
    request = SampleRequest(
        id=new_id("sample"),
        base_model=found.name if isinstance(found, BaseModel) else found.base_model,
        adapter_path=None if isinstance(found, BaseModel) else found.path,
        prompt=prompt,
        messages=messages,
        max_tokens=knobs.token_limit,
        temperature=1.0 if knobs.temperature is None else knobs.temperature,
        top_p=1.0 if knobs.top_p is None else knobs.top_p,
        seed=knobs.seed,
        stop=knobs.stop_texts,
    )
    worker = _worker_for(services, request.base_model)
    services.store.request_sample(worker.id, request.id)
    services.messenger.sample(worker.id, encode(request).decode())
    return Sample(request.id, worker.id)


def _worker_for(services: Services, base_model: str) -> Worker:
    """One that has the base loaded, the fewest samples waiting; else one with nothing to do."""
    store = services.store
    alive = live_workers(store, services.settings, services.clock.now())
    able = offering(alive, base_model)
    loaded = [worker for worker in able if worker.base_model == base_model]
    if not loaded:
        busy = {planned.worker_id for planned in store.rounds()}
        loaded = [worker for worker in able if worker.id not in busy]
    if loaded:
        return min(loaded, key=lambda worker: store.samples_waiting(worker.id))
    if not able:
        raise Unavailable(
            f"no live worker offers {base_model!r}: start one (`pando up`), or see GET /v1/workers"
        )
    raise Unavailable(
        f"every worker that offers {base_model!r} is training on another base: "
        "try again once a round has ended, or start another worker"
    )


async def read_sample(services: Services, sample: Sample) -> AsyncIterator[SampleChunk]:
    """The chunks of a sample as they come; the last has a `finish_reason`.

    Raises:
        Expired: nothing came for `sample_timeout_seconds`.
        InvalidRequest: the worker says that it cannot be done.
    """
    number = 0
    while True:
        chunks = await _next_chunks(services, sample, number)
        for chunk in chunks:
            if chunk.error is not None:
                raise InvalidRequest(chunk.error, code="sample_failed")
            yield chunk
            if chunk.finish_reason is not None:
                return
        number += len(chunks)


async def _next_chunks(services: Services, sample: Sample, start: int) -> list[SampleChunk]:
    seconds = services.settings.sample_timeout_seconds
    with anyio.move_on_after(seconds):
        while True:
            chunks = await run_sync(services.store.sample_chunks, sample.id, start)
            if chunks:
                return chunks
            await anyio.sleep(POLL_SECONDS)
    # Nobody waits for it any more, so rounds need not make way for it either.
    await run_sync(services.store.sample_done, sample.worker_id, sample.id)
    raise Expired(
        f"worker {sample.worker_id} sent nothing for {seconds:g} s: it may be loading its base "
        "model or gone; see GET /v1/workers, then try again"
    )
