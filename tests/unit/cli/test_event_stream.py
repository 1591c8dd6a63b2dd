from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest
from fake_service import FakeService, error_response, job

from pando_cli.api import Api
from pando_cli.errors import Refused, Unreachable
from pando_cli.event_stream import PATIENCE_SECONDS, follow
from pando_shared.clock import FakeClock

JOB = "/fine_tuning/jobs/ftjob-1"
EVENTS = f"{JOB}/events"


def stream(*seqs: int, tail: str = "") -> httpx.Response:
    lines = [f"data: {json.dumps({'id': f'ev-{seq}', 'message': 'm'})}\n\n" for seq in seqs]
    text = ": keep-alive\n\n" + "".join(lines) + tail
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def ids(api: Api, clock: FakeClock) -> Sequence[str]:
    return [e["id"] for e in follow(api, "ftjob-1", sleep=clock.advance, now=clock.now)]


def test_events_until_the_job_has_ended(api: Api, service: FakeService, clock: FakeClock) -> None:
    service.on("GET", JOB, job(status="running"), job(status="succeeded"))
    service.on("GET", EVENTS, stream(0, 1), stream(2, tail="data: [DONE]\n\n"))
    assert ids(api, clock) == ["ev-0", "ev-1", "ev-2"]


def test_a_dropped_connection_is_taken_up_where_it_broke(
    api: Api, service: FakeService, clock: FakeClock
) -> None:
    service.on("GET", JOB, job(status="running"), job(status="running"), job(status="succeeded"))
    service.on("GET", EVENTS, stream(0, 1), httpx.RemoteProtocolError("peer closed"), stream(2))
    assert ids(api, clock) == ["ev-0", "ev-1", "ev-2"]
    resumed = [r.headers.get("last-event-id") for r in service.requests if "events" in r.url.path]
    assert resumed == [None, "ev-1", "ev-1"]


def test_a_service_that_restarts_is_waited_for(
    api: Api, service: FakeService, clock: FakeClock
) -> None:
    away = [httpx.ConnectError("refused")] * 20 + [error_response(503, "starting")]
    service.on("GET", JOB, *away, job(status="succeeded"))
    service.on("GET", EVENTS, stream(0))
    assert ids(api, clock) == ["ev-0"]


def test_a_service_that_stays_away_is_given_up(
    api: Api, service: FakeService, clock: FakeClock
) -> None:
    began = clock.now()
    service.on("GET", JOB, httpx.ConnectError("refused"))
    with pytest.raises(Unreachable, match="went away while following ftjob-1"):
        ids(api, clock)
    assert PATIENCE_SECONDS <= clock.now() - began <= PATIENCE_SECONDS + 1


def test_an_unknown_job_is_not_waited_for(api: Api, service: FakeService, clock: FakeClock) -> None:
    service.on("GET", JOB, error_response(404, "no job ftjob-1"))
    with pytest.raises(Refused, match="no job ftjob-1"):
        ids(api, clock)
    assert len(service.requests) == 1
