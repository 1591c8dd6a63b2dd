"""A job's life as the wire shows it: lists, state changes, history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from api_calls import create_job, error_of, upload
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from starlette.testclient import TestClient

from pando_shared import layout
from pando_shared.clock import FakeClock
from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job, JobFailure, JobState, Progress, Yield, YieldCause
from pando_shared.records import CheckpointRecord, Event
from pando_shared.storage import Storage
from pando_shared.store import Change
from pando_shared.store.stub import StubStore

JOBS = "/v1/fine_tuning/jobs"


def move(store: StubStore, job_id: str, *states: JobState, **fields: Any) -> None:
    for state in states:
        store.update_job(job_id, lambda job, state=state: replace(job.to(state), **fields))


def test_lists_are_paged_newest_first(client: TestClient, clock: FakeClock) -> None:
    ids = []
    for _ in range(3):
        ids.insert(0, create_job(client)["id"])
        clock.advance(1)
    page = client.get(JOBS, params={"limit": 2}).json()
    assert [job["id"] for job in page["data"]] == ids[:2]
    assert page["has_more"] is True
    rest = client.get(JOBS, params={"limit": 2, "after": ids[1]}).json()
    assert [job["id"] for job in rest["data"]] == ids[2:]
    assert rest["has_more"] is False
    assert client.get(JOBS, params={"after": ids[2]}).json()["data"] == []
    error_of(client.get(JOBS, params={"after": "ftjob-missing"}), 404)
    for limit in ("0", "-1", "1001", "x"):
        assert error_of(client.get(JOBS, params={"limit": limit}))["param"] == "limit"


def test_lists_are_filtered_by_metadata(client: TestClient) -> None:
    file_id = upload(client)["id"]
    plain = create_job(client, training_file=file_id)["id"]
    red = create_job(client, training_file=file_id, metadata={"c": "red", "n": "1"})["id"]
    blue = create_job(client, training_file=file_id, metadata={"c": "blue"})["id"]

    def found(**params: str) -> set[str]:
        return {job["id"] for job in client.get(JOBS, params=params).json()["data"]}

    assert found() == {plain, red, blue}
    assert found(**{"metadata[c]": "red"}) == {red}
    assert found(**{"metadata[c]": "red", "metadata[n]": "2"}) == set()
    assert found(metadata="null") == {plain}


def test_a_filter_that_matches_little_still_fills_its_page(client: TestClient) -> None:
    file_id = upload(client)["id"]
    wanted = create_job(client, training_file=file_id, metadata={"k": "v"})["id"]
    for seed in range(120):
        create_job(client, training_file=file_id, seed=seed)
    page = client.get(JOBS, params={"metadata[k]": "v", "limit": 1}).json()
    assert [job["id"] for job in page["data"]] == [wanted]
    assert page["has_more"] is False


def test_a_page_reads_no_more_jobs_than_it_needs(
    client: TestClient, store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(client)["id"]
    for seed in range(5):
        create_job(client, training_file=file_id, seed=seed, metadata={"seed": str(seed)})
    read: list[int] = []
    list_jobs = store.list_jobs

    def counted(tenant: str, *, after: str | None = None, limit: int = 20) -> list[Job]:
        read.append(limit)
        return list_jobs(tenant, after=after, limit=limit)

    monkeypatch.setattr(store, "list_jobs", counted)
    client.get(JOBS, params={"limit": 2})
    assert read == [3]  # one more tells whether there is a next page
    read.clear()
    page = client.get(JOBS, params={"limit": 2, "metadata[seed]": "0"}).json()
    assert len(page["data"]) == 1
    assert read == [3, 100, 100]


def test_cancel_is_at_once_final_and_durable(
    client: TestClient, store: StubStore, storage: Storage
) -> None:
    job_id = create_job(client)["id"]
    move(store, job_id, JobState.QUEUED, JobState.RUNNING)
    cancelled = client.post(f"{JOBS}/{job_id}/cancel").json()
    assert FineTuningJob.model_validate(cancelled).status == "cancelled"
    assert cancelled["finished_at"] is not None
    assert store.get_job(job_id).epoch == 1
    assert json.loads(storage.read(layout.job_record(job_id)))["state"] == "cancelled"
    error = error_of(client.post(f"{JOBS}/{job_id}/cancel"))
    assert (error["code"], "is cancelled" in error["message"]) == ("illegal_transition", True)


def test_pause_and_resume(client: TestClient, store: StubStore, clock: FakeClock) -> None:
    job_id = create_job(client)["id"]
    error_of(client.post(f"{JOBS}/{job_id}/pause"))
    move(store, job_id, JobState.QUEUED, JobState.RUNNING)
    assert client.post(f"{JOBS}/{job_id}/pause").json()["status"] == "paused"
    error_of(client.post(f"{JOBS}/{job_id}/pause"))
    clock.advance(5)
    resumed = client.post(f"{JOBS}/{job_id}/resume").json()
    assert (resumed["status"], resumed["queued_at"]) == ("queued", int(clock.now()))
    error_of(client.post(f"{JOBS}/{job_id}/resume"))


@pytest.mark.parametrize("path", [(), (JobState.QUEUED,), (JobState.QUEUED, JobState.RUNNING)])
def test_only_a_paused_job_is_resumed(
    client: TestClient, store: StubStore, path: tuple[JobState, ...]
) -> None:
    job_id = create_job(client)["id"]
    move(store, job_id, *path)
    before = store.get_job(job_id)
    assert "only a paused job" in error_of(client.post(f"{JOBS}/{job_id}/resume"))["message"]
    assert store.get_job(job_id) == before


def test_another_tenants_job_is_not_there(client: TestClient, stranger: TestClient) -> None:
    job_id = create_job(client)["id"]
    for path in ("", "/events", "/events?stream=true", "/checkpoints"):
        theirs = error_of(stranger.get(f"{JOBS}/{job_id}{path}"), 404)
        missing = error_of(stranger.get(f"{JOBS}/ftjob-missing{path}"), 404)
        assert theirs["message"].replace(job_id, "ftjob-missing") == missing["message"]
    for verb in ("cancel", "pause", "resume"):
        error_of(stranger.post(f"{JOBS}/{job_id}/{verb}"), 404)
    assert stranger.get(JOBS).json()["data"] == []
    error_of(stranger.get(JOBS, params={"after": job_id}), 404)
    assert client.get(f"{JOBS}/{job_id}").json()["status"] == "validating_files"


def test_a_running_and_a_finished_job_show_what_was_found(
    client: TestClient, store: StubStore
) -> None:
    job_id = create_job(client, n_epochs=2)["id"]
    asked = store.get_job(job_id).spec.training
    resolved = replace(asked, n_epochs=2, batch_size=4, learning_rate=1e-4)
    move(
        store,
        job_id,
        JobState.QUEUED,
        JobState.RUNNING,
        training=resolved,
        progress=Progress(step=3, total_steps=10, train_loss=0.5, trained_tokens=99),
    )
    running = client.get(f"{JOBS}/{job_id}").json()
    assert running["hyperparameters"]["batch_size"] == 4
    assert running["trained_tokens"] is None
    assert (running["progress"]["step"], running["progress"]["train_loss"]) == (3, 0.5)
    failure = JobFailure("non_finite_loss", "the loss is NaN", None)
    move(store, job_id, JobState.FAILED, error=failure, finished_at=1_700_000_009.5)
    failed = FineTuningJob.model_validate(client.get(f"{JOBS}/{job_id}").json())
    assert failed.error is not None
    assert (failed.error.code, failed.trained_tokens, failed.finished_at) == (
        "non_finite_loss",
        99,
        1_700_000_009,
    )


def queue(store: StubStore, who: TestClient, clock: FakeClock, **body: Any) -> str:
    """The id of a job that waits."""
    job_id: str = create_job(who, **body)["id"]
    sizes = {"predicted_peak_bytes": 7, "predicted_host_bytes": 9}
    move(store, job_id, JobState.QUEUED, queued_at=clock.now(), **sizes)
    clock.advance(1)
    return job_id


def test_a_job_that_waits_has_the_schedulers_forecast(
    client: TestClient, stranger: TestClient, store: StubStore, clock: FakeClock
) -> None:
    old, theirs, urgent = (queue(store, who, clock) for who in (client, stranger, client))
    now = clock.now()
    reason = "needs 6.0 GiB; 2 jobs ahead"
    store.put_forecasts(
        [
            Forecast(old, now, 3, reason, now + 60.5, now + 90.5),
            Forecast(theirs, now, 2, "why", now + 30),
            Forecast(urgent, now, 1, "first in line", now + 10),
        ]
    )
    found = client.get(f"{JOBS}/{old}").json()
    assert FineTuningJob.model_validate(found).estimated_finish == int(now + 90.5)
    assert (found["queue_position"], found["blocked_reason"]) == (3, reason)
    assert found["estimated_start"] == int(now + 60.5)
    listed = {job["id"]: job["queue_position"] for job in client.get(JOBS).json()["data"]}
    assert listed == {urgent: 1, old: 3}
    shown = client.get("/v1/queue").json()
    assert [(job["id"], job["position"]) for job in shown["data"]] == [(urgent, 1), (old, 3)]
    assert shown["depth"] == 3
    last = shown["data"][1]
    assert (last["blocked_reason"], last["estimated_start"]) == (reason, int(now + 60.5))
    assert (last["waiting_seconds"], last["predicted_peak_bytes"]) == (3, 7)
    assert last["predicted_host_bytes"] == 9
    assert [job["position"] for job in stranger.get("/v1/queue").json()["data"]] == [2]
    assert theirs not in json.dumps(shown)


def test_a_job_that_the_scheduler_has_not_looked_at_has_no_forecast(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    new, known = queue(store, client, clock), queue(store, client, clock)
    store.put_forecasts([Forecast(known, clock.now(), 1, "first in line")])
    found = client.get(f"{JOBS}/{new}").json()
    fields = ("queue_position", "blocked_reason", "estimated_start", "estimated_finish")
    assert [found[field] for field in fields] == [None] * 4
    shown = client.get("/v1/queue").json()["data"]
    assert [(job["id"], job["position"]) for job in shown] == [(known, 1), (new, None)]
    assert (shown[1]["blocked_reason"], shown[1]["estimated_start"]) == (None, None)


def test_what_was_foreseen_while_a_job_waited_is_not_told_of_it_later(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    job_id = queue(store, client, clock)
    store.put_forecasts([Forecast(job_id, 0.0, 1, "first in line", 10.0, 20.0)])
    fields = ("queue_position", "blocked_reason", "estimated_start", "estimated_finish")

    def told() -> list[Any]:
        found = client.get(f"{JOBS}/{job_id}").json()
        return [found[field] for field in fields]

    assert told() == [1, "first in line", 10, 20]
    move(store, job_id, JobState.RUNNING, estimated_finish=30.0)
    assert told() == [None, None, None, 20]
    store.drop_forecasts([job_id])
    assert told() == [None, None, None, 30]
    store.put_forecasts([Forecast(job_id, 0.0, 1, "first in line", 10.0, 20.0)])
    move(store, job_id, JobState.SUCCEEDED, estimated_finish=None)
    assert told() == [None] * 4


def test_a_job_says_why_it_leaves_and_how_often_it_has_left(
    client: TestClient, store: StubStore
) -> None:
    job_id = create_job(client)["id"]
    found = client.get(f"{JOBS}/{job_id}").json()
    assert (found["yielding"], found["preemptions"], found["attempts"]) == (None, 0, 0)
    leaves = Yield(YieldCause.PRIORITY, "a job of a higher class waits")
    counts = {"preemptions": 2, "attempts": 1}
    move(store, job_id, JobState.QUEUED, JobState.RUNNING, yielding=leaves, **counts)
    found = client.get(f"{JOBS}/{job_id}").json()
    assert found["yielding"] == "leaves its worker: a job of a higher class waits"
    assert (found["preemptions"], found["attempts"]) == (2, 1)


def test_a_job_cancelled_while_it_ran_neither_leaves_nor_is_to_finish(
    client: TestClient, store: StubStore
) -> None:
    job_id = create_job(client)["id"]
    leaves = Yield(YieldCause.PRIORITY, "a job of a higher class waits")
    move(store, job_id, JobState.QUEUED, JobState.RUNNING, yielding=leaves, estimated_finish=30.0)
    found = client.get(f"{JOBS}/{job_id}").json()
    assert (found["yielding"] is None, found["estimated_finish"]) == (False, 30)
    for found in (
        client.post(f"{JOBS}/{job_id}/cancel").json(),
        client.get(f"{JOBS}/{job_id}").json(),
    ):
        assert (found["yielding"], found["estimated_finish"]) == (None, None)


def test_a_page_of_jobs_asks_once_for_their_forecasts(
    client: TestClient, store: StubStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = {queue(store, client, clock, seed=seed) for seed in range(3)}
    create_job(client)
    asked: list[set[str]] = []
    forecasts = store.forecasts

    def counted(job_ids: Sequence[str]) -> list[Forecast | None]:
        asked.append(set(job_ids))
        return forecasts(job_ids)

    monkeypatch.setattr(store, "forecasts", counted)
    client.get(JOBS)
    assert asked == [waiting]


def test_events_are_paged_newest_first(client: TestClient, store: StubStore) -> None:
    job_id = create_job(client)["id"]
    for step in (1, 2):
        message = f"Step {step}/3: training loss=0.5"
        store.append_events(job_id, [Event(1.0, message, type="metrics", data={"step": step})])
    page = client.get(f"{JOBS}/{job_id}/events", params={"limit": 3}).json()
    events = [FineTuningJobEvent.model_validate(event) for event in page["data"]]
    assert [event.message for event in events[:2]] == [
        "Step 2/3: training loss=0.5",
        "Step 1/3: training loss=0.5",
    ]
    assert events[0].data == {"step": 2}
    assert page["has_more"] is True
    rest = client.get(f"{JOBS}/{job_id}/events", params={"after": events[2].id}).json()
    assert [event["message"] for event in rest["data"]] == [f"Created fine-tuning job: {job_id}"]
    assert rest["has_more"] is False
    for wrong in ("ftevent-x", "ftevent-other-1", events[0].id + "0" * 20):
        error_of(client.get(f"{JOBS}/{job_id}/events", params={"after": wrong}), 404)


def test_a_stream_ends_with_its_job(client: TestClient, store: StubStore) -> None:
    job_id = create_job(client)["id"]
    client.post(f"{JOBS}/{job_id}/cancel")
    answer = client.get(f"{JOBS}/{job_id}/events", params={"stream": "true"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    sent = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert sent[0]["message"] == f"Created fine-tuning job: {job_id}"
    assert sent[-1]["message"] == "Fine-tuning job cancelled"
    behind = client.get(
        f"{JOBS}/{job_id}/events",
        params={"stream": "true"},
        headers={"Last-Event-ID": sent[-2]["id"]},
    )
    assert [line for line in behind.text.splitlines() if line.startswith("id: ")] == [
        f"id: {sent[-1]['id']}"
    ]


def test_checkpoints_are_paged(client: TestClient, store: StubStore) -> None:
    job_id = create_job(client)["id"]
    for step in (10, 20, 30):
        record = CheckpointRecord(
            f"ftckpt-{step}",
            job_id,
            f"ft:tiny:acme::x:ckpt-step-{step}",
            step,
            step,
            {"step": step},
        )
        store.update_job(job_id, lambda job, record=record: Change(job, checkpoint=record))
    page = client.get(f"{JOBS}/{job_id}/checkpoints", params={"limit": 2}).json()
    found = [FineTuningJobCheckpoint.model_validate(item) for item in page["data"]]
    assert [item.step_number for item in found] == [30, 20]
    assert found[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-30")
    rest = client.get(f"{JOBS}/{job_id}/checkpoints", params={"after": found[1].id}).json()
    assert [item["step_number"] for item in rest["data"]] == [10]
    assert (page["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize("path", ["events", "checkpoints"])
def test_page_sizes_are_checked(client: TestClient, path: str) -> None:
    job_id = create_job(client)["id"]
    error_of(client.get(f"{JOBS}/{job_id}/{path}", params={"limit": 0}))
