"""A tenant's long requests at once are bounded; nobody else's, and none of its short ones, are."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from api_calls import CHAT_LINE, error_of, upload
from factories import make_job
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_api.errors import TooManyStreams
from pando_api.open_streams import OpenStreams, streams_within
from pando_shared.jobs import JobState
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore


def test_as_many_as_may_be_and_no_more() -> None:
    streams = OpenStreams(2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(streams.one_more("acme"))
        with pytest.raises(TooManyStreams, match=r"acme has 2 .* PANDO_STREAMS_PER_TENANT") as told:
            held.enter_context(streams.one_more("acme"))
        assert told.value.headers == {"Retry-After": "5"}
        held.enter_context(streams.one_more("other"))
    with streams.one_more("acme"):
        pass


def test_one_that_fails_is_over() -> None:
    streams = OpenStreams(1)
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError), streams.one_more("acme"):
            raise asyncio.CancelledError
    assert not streams._open


@pytest.mark.parametrize(
    ("connections", "streams"), [(8000, 1000), (2000, 1000), (824, 412), (3, 1), (1, 1)]
)
def test_half_of_the_connections_are_for_others(connections: int, streams: int) -> None:
    assert streams_within(connections, 1000) == streams


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"streams_per_tenant": 1})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/fine_tuning/jobs/JOB/events?stream=true"),
        ("GET", "/v1/files/FILE/content"),
        ("GET", "/v1/models/ft:tiny:acme::1/content"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/files"),
        ("POST", "/v1/uploads/upload-1/parts"),
    ],
)
def test_what_takes_long_is_counted(
    app: FastAPI,
    client: TestClient,
    stranger: TestClient,
    store: StubStore,
    method: str,
    path: str,
) -> None:
    job = store.create_job(make_job(tenant="acme", state=JobState.CANCELLED))
    path = path.replace("JOB", job.id).replace("FILE", upload(client)["id"])
    with app.state.services.open_streams.one_more("acme"):
        answer = client.request(method, path)
        assert error_of(answer, 429)["code"] == "too_many_streams"
        assert answer.headers["retry-after"] == "5"
        assert client.get(f"/v1/fine_tuning/jobs/{job.id}/events").status_code == 200
        assert client.get("/v1/files").status_code == 200
        assert stranger.request(method, path).status_code != 429
    assert client.request(method, path).status_code != 429


def test_an_answer_that_was_sent_is_over(client: TestClient) -> None:
    file_id = upload(client)["id"]
    for _ in range(3):
        assert client.get(f"/v1/files/{file_id}/content").text == CHAT_LINE + "\n"


def test_the_document_says_it(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    events = paths["/v1/fine_tuning/jobs/{job_id}/events"]["get"]
    assert "open as you may" in events["responses"]["429"]["description"]
    assert [given["name"] for given in events["parameters"]].count("stream") == 1
