"""What a worker logs names the round and the job, without each call saying so."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from log_lines import Lines, json_log
from worker_world import World

from pando_worker.residency import guarding
from pando_worker.round import run_round


@pytest.fixture
def lines() -> Iterator[Lines]:
    with json_log("worker", "pando_worker") as found:
        yield found


def test_lines_of_a_round_name_it_and_its_worker(world: World, lines: Lines) -> None:
    job_id = world.submit()
    round_id = world.plan(job_id)
    run_round(world.host, round_id)
    named = [line for line in lines() if "round_id" in line]
    assert any("loading base model" in line["message"] for line in named)
    assert {(line["round_id"], line["worker_id"]) for line in named} == {
        (round_id, world.host.worker.id)
    }


def test_a_round_that_is_over_is_named_too(world: World, lines: Lines) -> None:
    run_round(world.host, "round-of-old")
    assert lines()[-1]["round_id"] == "round-of-old"


def test_a_job_that_cannot_be_seated_is_named_with_its_tenant(
    world: World, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise OSError("the disk\nis away")

    monkeypatch.setattr("pando_worker.seating.training_job", unreadable)
    job_id = world.submit()
    world.round(job_id)
    (line,) = [line for line in lines() if "exception" in line]
    assert line["job_id"] == job_id
    assert line["tenant"] == world.job(job_id).spec.tenant
    assert line["exception"].endswith("OSError: the disk\nis away\n")


def test_what_is_done_for_one_job_names_it(world: World, lines: Lines) -> None:
    with guarding(world.host, "ftjob-1"):
        logging.getLogger("pando_worker.test").info("hello")
    logging.getLogger("pando_worker.test").info("farewell")
    assert [line.get("job_id") for line in lines()[-2:]] == ["ftjob-1", None]
