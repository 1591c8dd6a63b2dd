from __future__ import annotations

import pytest
from factories import EPOCH_START, make_job

from pando_cli.doctor.finding import Status
from pando_cli.doctor.preparing import LONG_SECONDS, preparing, unknown
from pando_shared.jobs import Job, JobState

NOW = EPOCH_START


def waiting(*ages: float) -> list[Job]:
    return [make_job(state=JobState.VALIDATING, created_at=NOW - age) for age in ages]


def test_one_answers_and_has_nothing_to_do() -> None:
    found = preparing(["prepare-a-1"], [], NOW)
    assert (found.status, found.found) == (Status.OK, "prepare-a-1 answers; no job waits")


@pytest.mark.parametrize(
    ("ages", "told"), [((), "0 jobs wait"), ((5,), "1 job waits"), ((5, 9), "2 jobs wait")]
)
def test_none_answers(ages: tuple[float, ...], told: str) -> None:
    found = preparing([], waiting(*ages), NOW)
    assert found.status is Status.FAIL
    assert told in found.found
    assert "pando-worker --prepare" in found.mend


@pytest.mark.parametrize(
    ("age", "status"), [(LONG_SECONDS, Status.OK), (LONG_SECONDS + 1, Status.WARN)]
)
def test_a_job_that_waits_for_long(age: float, status: Status) -> None:
    jobs = waiting(3, age, 4)
    found = preparing(["prepare-a-1", "prepare-b-1"], jobs, NOW)
    assert found.status is status
    assert "2 processes answer; 3 jobs wait for it" in found.found
    assert (jobs[1].id in found.found) is (status is Status.WARN)


def test_nobody_to_ask() -> None:
    assert unknown("why").status is Status.SKIPPED
