"""The OpenAPI document: what FastAPI makes of the routes, put right, and with links.

Links say what can be done with what a request made. Readers and tools (generators of clients,
testers of APIs) see from them how operations follow on each other:
https://spec.openapis.org/oas/v3.1.0#link-object
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

_ID = "$response.body#/id"
_MODEL = "$request.body#/model"

#: By the operation that makes something: who takes its id, under which name of its path.
_OF_PATHS = {
    "create_file": ("file_id", ("retrieve_file", "delete_file", "file_content")),
    "create_upload": ("upload_id", ("create_part", "complete_upload", "cancel_upload")),
    "create_job": (
        "job_id",
        (
            *("retrieve_job", "cancel_job", "pause_job", "resume_job"),
            *("list_events", "list_checkpoints"),
        ),
    ),
    "create_sweep": ("sweep_id", ("retrieve_sweep", "cancel_sweep")),
    "create_webhook": (
        "webhook_id",
        (
            *("retrieve_webhook", "update_webhook", "delete_webhook"),
            *("rotate_secret", "test_webhook"),
        ),
    ),
}
#: By the operation that makes something: who takes its id in the body, as which field.
_OF_BODIES = {
    "create_file": (("create_job", "training_file"), ("estimate_job", "training_file")),
}


def operation_id(route: APIRoute) -> str:
    """The function's name: `client.create_file` reads better than `create_file_v1_files_post`."""
    return route.name


def document_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What makes `app`'s document."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _mend(make())
        return make()

    return openapi


def _mend(document: dict[str, Any]) -> None:
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    for methods in document["paths"].values():
        for operation in methods.values():
            _keep_what_can_be(operation)
            name = operation["operationId"]
            links = {
                taker: {"operationId": taker, "parameters": {parameter: _ID}}
                for parameter, takers in (_OF_PATHS.get(name, ("", ())),)
                for taker in takers
            }
            for taker, field in _OF_BODIES.get(name, ()):
                links[taker] = {"operationId": taker, "requestBody": {field: _ID}}
            if links:
                operation["responses"]["200"]["links"] = links


def _keep_what_can_be(operation: dict[str, Any]) -> None:
    """Drop failures that this operation cannot have. FastAPI's own 422 is a 400 here."""
    never = {"422"}
    if "requestBody" not in operation:
        never |= {"413", "507"}
        if "parameters" not in operation:
            never |= {"400", "404"}
    responses = operation["responses"]
    operation["responses"] = {
        status: responses[status] for status in responses if status not in never
    }
