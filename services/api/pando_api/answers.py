"""What operations answer, for the OpenAPI document: failures, and bodies that are not JSON."""

from __future__ import annotations

from typing import Any

from pando_api.schemas.errors import ErrorBody

Responses = dict[int | str, dict[str, Any]]


def _failure(description: str) -> dict[str, Any]:
    return {"model": ErrorBody, "description": description}


#: Of every operation that needs a key.
FAILURES: Responses = {
    400: _failure("The request is malformed, or asks for what cannot be; `message` says why."),
    401: _failure("No API key, or one that is unknown, revoked or past its time."),
    403: _failure("The API key's scope does not allow this; `message` names the one needed."),
    404: _failure("No such object, or not yours."),
    429: _failure("Too many requests in a minute; `Retry-After` says how long to wait."),
    413: _failure("The body, or the file in it, is longer than allowed."),
    500: _failure("Our fault; the log has it under the answer's `x-request-id`."),
    503: _failure("Not now: what this needs does not answer. Try again later."),
    507: _failure("The storage is full; nothing was kept."),
}
#: Of what makes jobs.
QUOTA: Responses = {
    429: _failure(
        "You have as many jobs, or keep as much in storage, as you may, or ask too often."
    )
}
#: Of what keeps bytes.
STORAGE_QUOTA: Responses = {
    429: _failure(
        "You keep as much in storage, or have as many long requests open, as you may, or ask too "
        "often."
    )
}
#: Of what may take long.
LONG: Responses = {
    429: _failure(
        "You have as many streams, completions, uploads and downloads open as you may, or ask too "
        "often; `Retry-After` says how long to wait."
    )
}
#: Of what only tells whether the service is well.
NOT_READY: Responses = {503: FAILURES[503]}

EVENT_STREAM = "text/event-stream"


def body_of(*media_types: str) -> Responses:
    """An answer in one of these, beside the JSON of the response model if there is one."""
    return {200: {"content": {media_type: _described(media_type) for media_type in media_types}}}


def _described(media_type: str) -> dict[str, Any]:
    if media_type == EVENT_STREAM:
        return {}  # a schema would be of an event, and theirs are not all alike
    if media_type.startswith("text/"):
        return {"schema": {"type": "string"}}
    return {"schema": {"type": "string", "format": "binary"}}
