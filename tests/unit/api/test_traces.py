"""A request's span and what it leaves behind: in a job's record and in what is sent for the job."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from factories import make_job
from fastapi import FastAPI
from log_lines import json_log
from opentelemetry.trace import SpanKind, StatusCode
from recorded_spans import (
    CLIENTS_TRACE,
    CLIENTS_TRACEPARENT,
    RecordedSpans,
    recording,
    trace_of,
)
from starlette.testclient import TestClient
from webhook_receiver import receiving

from pando_api.webhook_delivery import Sender
from pando_api.webhook_post import WebhookPost
from pando_shared.jobs import JobState
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore
from pando_shared.webhooks import EVENT_TYPES, WebhookEndpoint

HEADERS = {"traceparent": CLIENTS_TRACEPARENT}


@pytest.fixture
def spans() -> RecordedSpans:
    with recording() as recorded:
        yield recorded


@pytest.fixture
def file_id(client: TestClient) -> str:
    content = {"file": ("secret-name.jsonl", b'{"text": "secret words"}\n')}
    uploaded = client.post("/v1/files", files=content, data={"purpose": "fine-tune"})
    return str(uploaded.json()["id"])


def test_a_request_goes_on_with_its_clients_trace(
    client: TestClient, store: StubStore, spans: RecordedSpans
) -> None:
    job = store.create_job(make_job(tenant="acme"))
    path = f"/v1/fine_tuning/jobs/{job.id}?page=hunter2"
    client.get(path, headers={**HEADERS, "x-request-id": "mine"})
    request = spans.one("GET /v1/fine_tuning/jobs/{job_id}")
    assert (request.kind, trace_of(request)) == (SpanKind.SERVER, CLIENTS_TRACE)
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/fine_tuning/jobs/{job_id}",
        "http.response.status_code": 200,
        "request_id": "mine",
        "tenant": "acme",
        "job_id": job.id,
    }
    assert request.status.status_code is StatusCode.UNSET


def test_without_a_clients_trace_each_request_begins_one(
    client: TestClient, spans: RecordedSpans
) -> None:
    client.get("/v1/models")
    client.get("/v1/nothing")
    known, unknown = spans.all()
    assert trace_of(known) != trace_of(unknown)
    assert unknown.name == "GET"  # a path that is no route's may hold anything
    assert unknown.attributes is not None
    assert unknown.attributes["http.response.status_code"] == 404


def test_probes_leave_no_span(client: TestClient, spans: RecordedSpans) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200
    assert spans.all() == ()


def test_an_unforeseen_error_fails_the_span_without_its_words(
    client: TestClient, store: StubStore, spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(store, "list_files", broken)
    with json_log("api", "pando_api") as lines:
        assert client.get("/v1/files").status_code == 500
    request = spans.one("GET /v1/files")
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes is not None
    assert request.attributes["error.type"] == "500"
    (event,) = request.events
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "RuntimeError"
    assert "hunter2" not in str(event.attributes).replace('RuntimeError("hunter2")', "")
    assert {line["trace_id"] for line in lines()} == {trace_of(request)}


@pytest.mark.parametrize("path", ["/v1/fine_tuning/jobs", "/v1/fine_tuning/sweeps"])
def test_jobs_keep_where_they_were_asked_for(
    client: TestClient, store: StubStore, file_id: str, spans: RecordedSpans, path: str
) -> None:
    body = {"model": "tiny", "training_file": file_id}
    if path.endswith("sweeps"):
        body |= {"grid": {"learning_rate": [1e-4, 1e-3]}}
    made = client.post(path, json=body, headers=HEADERS)
    assert made.status_code == 200, made.text
    request = spans.one(f"POST {path}")
    at = f"00-{CLIENTS_TRACE}-{request.context.span_id:016x}-01"
    assert {job.traceparent for job in store.list_jobs("acme")} == {at}
    assert "traceparent" not in made.text
    assert "secret" not in request.to_json()


def test_jobs_made_without_traces_have_none(
    client: TestClient, store: StubStore, file_id: str
) -> None:
    body = {"model": "tiny", "training_file": file_id}
    client.post("/v1/fine_tuning/jobs", json=body, headers=HEADERS)
    assert [job.traceparent for job in store.list_jobs("acme")] == [None]


@pytest.mark.parametrize(("statuses", "failed"), [((), False), ((500,), True), (None, True)])
async def test_a_delivery_is_in_its_jobs_trace(
    app: FastAPI,
    store: StubStore,
    spans: RecordedSpans,
    statuses: tuple[int, ...] | None,
    failed: bool,
) -> None:
    networks = Settings(webhook_allow=(ip_network("127.0.0.1/32"),)).webhook_allow
    sender = Sender(app.state.services, WebhookPost(networks))
    with receiving(*(statuses or ())) as receiver:
        url = "http://127.0.0.1:1/none" if statuses is None else receiver.url
        store.put_endpoint(
            WebhookEndpoint("whep_1", "acme", "n", url, EVENT_TYPES, 0.0, 0.0, "whsec_AAAA")
        )
        job = store.create_job(make_job(tenant="acme", traceparent=CLIENTS_TRACEPARENT))
        store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
        await sender.claim()
        await sender.drain()
    delivery = spans.one("deliver webhook")
    assert (delivery.kind, trace_of(delivery)) == (SpanKind.CLIENT, CLIENTS_TRACE)
    assert delivery.attributes is not None
    assert delivery.attributes["job_id"] == job.id
    assert delivery.attributes["tenant"] == "acme"
    assert delivery.attributes["attempt"] == 1
    assert (delivery.status.status_code is StatusCode.ERROR) is failed
    assert url not in delivery.to_json()
