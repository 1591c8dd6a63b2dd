from __future__ import annotations

import httpx
import pytest
from fake_service import FakeService, job

from pando_cli.api import Api
from pando_cli.errors import Unreachable
from pando_cli.snapshots import job_snapshots
from pando_shared.clock import FakeClock

JOB = "/fine_tuning/jobs/ftjob-1"


def statuses(api: Api, clock: FakeClock) -> list[str]:
    found = job_snapshots(api, ["ftjob-1"], sleep=clock.advance, now=clock.now)
    return [jobs[0]["status"] for jobs in found]


def test_only_changes_are_reported(api: Api, service: FakeService, clock: FakeClock) -> None:
    seen = ["queued", "queued", "running", "running", "succeeded"]
    service.on("GET", JOB, *(job(status=status) for status in seen))
    assert statuses(api, clock) == ["queued", "running", "succeeded"]


def test_a_short_absence_is_forgiven(api: Api, service: FakeService, clock: FakeClock) -> None:
    service.on("GET", JOB, job(), httpx.ConnectError("refused"), job(status="failed"))
    assert statuses(api, clock) == ["running", "failed"]


def test_a_long_one_is_not(api: Api, service: FakeService, clock: FakeClock) -> None:
    service.on("GET", JOB, job(), httpx.ConnectError("refused"))
    with pytest.raises(Unreachable):
        statuses(api, clock)
