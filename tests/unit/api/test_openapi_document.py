"""What the OpenAPI document says beside what FastAPI finds in the routes."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI


@pytest.fixture
def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    """By operation id."""
    methods = [operation for path in app.openapi()["paths"].values() for operation in path.values()]
    return {operation["operationId"]: operation for operation in methods}


def test_links_name_operations_and_parameters_that_there_are(
    operations: dict[str, dict[str, Any]],
) -> None:
    linked = 0
    for operation in operations.values():
        for link in operation["responses"]["200"].get("links", {}).values():
            taken = {each["name"] for each in operations[link["operationId"]].get("parameters", ())}
            assert set(link.get("parameters", ())) <= taken
            linked += 1
    assert linked


def test_failures_are_told_where_they_can_happen(operations: dict[str, dict[str, Any]]) -> None:
    assert {"400", "401", "404", "413", "429"} <= set(operations["create_job"]["responses"])
    assert not {"400", "404", "413", "507"} & set(operations["list_workers"]["responses"])
    assert set(operations["readyz"]["responses"]) == {"200", "503"}


def test_downloads_and_streams_have_their_media_types(
    operations: dict[str, dict[str, Any]],
) -> None:
    def media_types(name: str) -> set[str]:
        return set(operations[name]["responses"]["200"]["content"])

    assert media_types("file_content") == {"application/octet-stream"}
    assert media_types("download_model") == {"application/x-tar", "application/zip"}
    assert media_types("list_events") == {"application/json", "text/event-stream"}


def test_nothing_is_left_of_the_frameworks_own_failures(app: FastAPI) -> None:
    assert "HTTPValidationError" not in app.openapi()["components"]["schemas"]
