"""/v1/fine_tuning/jobs/{id}/events: a job's history, in pages or as it happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from sse_starlette import EventSourceResponse

from pando_api.answers import EVENT_STREAM, LONG, body_of
from pando_api.dependencies import HOLD_IF_STREAMED, OwnJobDep, ServicesDep
from pando_api.event_stream import follow
from pando_api.paging import first_page
from pando_api.schemas.history import EventObject, event_seq
from pando_api.schemas.paging import After, Page
from pando_shared.errors import NotFound
from pando_shared.history import History

router = APIRouter(prefix="/v1/fine_tuning/jobs/{job_id}", tags=["fine-tuning"])

LastEventId = Annotated[str | None, Header(description="Go on streaming behind this event.")]


@router.get(
    "/events",
    response_model=Page[EventObject],
    responses=body_of(EVENT_STREAM) | LONG,
    dependencies=[HOLD_IF_STREAMED],
)
def list_events(
    job: OwnJobDep,
    services: ServicesDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    stream: bool = False,
    last_event_id: LastEventId = None,
) -> Page[EventObject] | Response:
    """Newest first; with `stream=true` all of them, oldest first, as server-sent events.

    A stream ends when the job has ended and everything has been sent.
    """
    history = History(services.store, services.storage)
    if stream:
        seen = _seq(job.id, last_event_id)
        start = 0 if seen is None else seen + 1
        return EventSourceResponse(follow(history, services.event_watch, job.id, start))
    events = history.events_before(job.id, seq=_seq(job.id, after), limit=limit + 1)
    return first_page([EventObject.of(event, job.id) for event in events], limit)


def _seq(job_id: str, event_id: str | None) -> int | None:
    if event_id is None:
        return None
    seq = event_seq(job_id, event_id)
    if seq is None:
        raise NotFound(f"job {job_id} has no event {event_id!r}", param="after")
    return seq
