"""Sweeps on the wire: what may be asked for, what is made of it, and how it is read again."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_calls import create_job, error_of, upload
from factories import make_worker
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob
from starlette.testclient import TestClient

from pando_api.app import create_app
from pando_shared import layout
from pando_shared.api_keys import new_api_key
from pando_shared.catalogue import BaseModel
from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.jobs import HalvingRule, Job, JobFailure, JobState, Progress
from pando_shared.rungs import WORST_LOSS
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore

SWEEPS = "/v1/fine_tuning/sweeps"
JOBS = "/v1/fine_tuning/jobs"
GRID = {"learning_rate": [1e-4, 3e-4], "adapter.rank": [8, 16]}
JsonObject = dict[str, Any]


@pytest.fixture
def file_id(client: TestClient) -> str:
    return str(upload(client)["id"])


@pytest.fixture
def body(file_id: str) -> JsonObject:
    """A sweep of four trials, with validation."""
    return {"model": "tiny", "training_file": file_id, "validation_file": file_id, "grid": GRID}


def sweep(client: TestClient, body: JsonObject, **headers: str) -> JsonObject:
    answer = client.post(SWEEPS, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    found: JsonObject = answer.json()
    return found


def refused(client: TestClient, body: JsonObject, status: int = 400) -> JsonObject:
    """The error of a sweep of which nothing may be made."""
    error = error_of(client.post(SWEEPS, json=body), status)
    assert client.get(JOBS).json()["data"] == []
    return error


def move(store: StubStore, job_id: str, *states: JobState, **fields: Any) -> None:
    for state in states:
        store.update_job(job_id, lambda job, state=state: replace(job.to(state)))
    store.update_job(job_id, lambda job: replace(job, **fields))


def trained(store: StubStore, job_id: str, loss: float, *rungs: float, step: int = 30) -> None:
    progress = Progress(step=step, total_steps=90, valid_loss=loss, rung_losses=rungs)
    move(store, job_id, JobState.QUEUED, JobState.RUNNING, progress=progress)


def test_every_point_of_the_grid_is_a_job(
    client: TestClient, store: StubStore, storage: Storage, messenger: StubMessenger,
    body: JsonObject,
) -> None:  # fmt: skip
    found = sweep(client, {**body, "suffix": "pirate", "metadata": {"team": "a"}, "n_epochs": 2})
    assert (found["object"], found["status"]) == ("fine_tuning.sweep", "validating_files")
    assert found["halving"] == {"eta": 3, "rungs": 2}
    assert [trial["values"] for trial in found["trials"]] == [
        {"learning_rate": rate, "adapter.rank": rank} for rate in (1e-4, 3e-4) for rank in (8, 16)
    ]
    ids = [trial["job_id"] for trial in found["trials"]]
    assert messenger.prepared == ids
    for number, job_id in enumerate(ids, 1):
        job = client.get(f"{JOBS}/{job_id}").json()
        FineTuningJob.model_validate(job)
        assert (job["group"], job["suffix"]) == (found["id"], f"pirate-{number}")
        assert job["halving"] == {"eta": 3, "rungs": 2}
        assert job["hyperparameters"]["n_epochs"] == 2
        assert job["metadata"]["team"] == "a"
        assert json.loads(storage.read(layout.job_record(job_id)))["id"] == job_id
    last = store.get_job(ids[3])
    assert (last.spec.training.learning_rate, last.spec.adapter.rank) == (3e-4, 16)
    assert last.spec.metadata["grid.learning_rate"] == "0.0003"
    assert last.spec.halving == HalvingRule(3, 2)
    listed = client.get(JOBS, params={"metadata[grid.learning_rate]": "0.0001"}).json()["data"]
    assert {job["id"] for job in listed} == set(ids[:2])


def test_the_grids_values_take_the_place_of_the_bodys(
    client: TestClient, store: StubStore, body: JsonObject
) -> None:
    adapters = [{"type": "lora", "alpha": 4.0}, {"type": "paca", "alpha": 8.0}]
    hyperparameters = {"n_epochs": 9, "batch_size": 2}
    body |= {
        "grid": {"n_epochs": [1, 2], "adapter": adapters, "adapter.rank": [4], "seed": [5]},
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "adapter": {"type": "meft"},
    }
    jobs = [store.get_job(trial["job_id"]) for trial in sweep(client, body)["trials"]]
    assert [
        (job.spec.training.n_epochs, job.spec.adapter.type, job.spec.adapter.alpha) for job in jobs
    ] == [(1, "lora", 4.0), (1, "paca", 8.0), (2, "lora", 4.0), (2, "paca", 8.0)]
    for job in jobs:
        assert (job.spec.adapter.rank, job.spec.training.seed) == (4, 5)
        assert job.spec.training.batch_size == 2


def test_one_knob_of_the_bodys_adapter_is_varied(
    client: TestClient, store: StubStore, body: JsonObject
) -> None:
    body |= {"adapter": {"type": "paca", "alpha": 8.0}, "grid": {"adapter.rank": [4, 8]}}
    for trial, rank in zip(sweep(client, body)["trials"], (4, 8), strict=True):
        adapter = store.get_job(trial["job_id"]).spec.adapter
        assert (adapter.type, adapter.alpha, adapter.rank) == ("paca", 8.0, rank)


def test_samples_are_distinct_points_drawn_by_seed(client: TestClient, body: JsonObject) -> None:
    grid = {"learning_rate": [i / 1e5 for i in range(1, 101)], "adapter.rank": list(range(1, 101))}

    def drawn(**more: Any) -> list[str]:
        found = sweep(client, {**body, "grid": grid, "samples": 20, **more})
        return [json.dumps(trial["values"]) for trial in found["trials"]]

    first = drawn()
    assert len(set(first)) == 20
    assert drawn() == first
    assert drawn(seed=1) != first
    assert drawn(seed=42) == first
    assert len(sweep(client, {**body, "samples": 4})["trials"]) == 4


@pytest.mark.parametrize(
    ("more", "halving"),
    [
        ({}, {"eta": 3, "rungs": 2}),
        ({"halving": None}, None),
        ({"halving": {"eta": 2}}, {"eta": 2, "rungs": 2}),
        ({"halving": {"eta": 4, "rungs": 1}}, {"eta": 4, "rungs": 1}),
        ({"validation_file": None}, None),
    ],
)
def test_halving_is_on_where_there_is_validation(
    client: TestClient, body: JsonObject, more: JsonObject, halving: JsonObject | None
) -> None:
    assert sweep(client, body | more)["halving"] == halving


@pytest.mark.parametrize(
    ("more", "param", "says"),
    [
        ({"validation_file": None, "halving": {"eta": 2}}, "halving", "give a validation_file"),
        ({"halving": {"eta": 1}}, "halving.eta", "greater than or equal to 2"),
        ({"grid": {}}, "grid", "at least 1 item"),
        ({"grid": {"learning_rate": []}}, "grid.learning_rate", "no values"),
        ({"grid": {"learning_rate": [0.1, 0.1]}}, "grid.learning_rate", "twice: 0.1, 0.1"),
        ({"grid": {"learning_rat": [0.1]}}, "grid", "did you mean 'learning_rate'"),
        ({"grid": {"group": ["a", "b"]}}, "grid", "no knob 'group'"),
        ({"grid": {"adapter.rnk": [8]}}, "adapter.rnk", "did you mean 'rank'"),
        ({"grid": {"learning_rate": [0.1, "fast"]}}, "grid.learning_rate", "got 'fast'"),
        ({"grid": {"learning_rate": [0.1, -1.0]}}, "learning_rate", "trial 2 (learning_rate=-1.0)"),
        ({"grid": {"adapter.rank": [8, 5000]}}, "adapter.rank", "trial 2 (adapter.rank=5000)"),
        ({"grid": {"adapter": [{"type": "dora"}]}}, "adapter.type", "lora, paca, meft"),
        ({"grid": {"seed": list(range(257))}}, "grid", "257 points, and a sweep at most 256"),
        ({"samples": 5}, "samples", "only 4 points"),
        ({"samples": 257}, "samples", "less than or equal to 256"),
        ({"group": "mine"}, "group", "leave group out"),
        ({"model": "gpt-9"}, "model", "there is no base model 'gpt-9'"),
        ({"suffix": "x" * 64}, "suffix", "at most 64"),
        ({"metadata": {f"k{i}": "v" for i in range(15)}}, "metadata", "15 pairs and the grid 2"),
        ({"metadata": {"grid.learning_rate": "v"}}, "metadata", "tell their own value"),
        ({"grid": {"adapter": [{"type": "x" * 600}]}}, "grid.adapter", "at most 512"),
        ({"smaples": 3}, "smaples", "did you mean 'samples'"),
    ],
)
def test_nothing_is_made_of_what_cannot_be(
    client: TestClient, body: JsonObject, more: JsonObject, param: str, says: str
) -> None:
    error = refused(client, body | more)
    assert says in error["message"]
    assert error["param"] == param


def test_files_must_be_there(client: TestClient, stranger: TestClient, body: JsonObject) -> None:
    theirs = upload(stranger)["id"]
    assert refused(client, {**body, "training_file": theirs}, 404)["param"] == "training_file"


def test_a_trial_too_large_for_any_worker_is_named(
    client: TestClient, store: StubStore, body: JsonObject
) -> None:
    store.put_worker(make_worker(budget_bytes=1 << 20))
    error = refused(client, body)
    assert error["code"] == "job_too_large"
    assert error["message"].startswith("trial 1 (learning_rate=0.0001, adapter.rank=8): ")


def test_a_key_makes_a_sweep_once(client: TestClient, body: JsonObject) -> None:
    first = sweep(client, body, **{"Idempotency-Key": "k"})
    assert sweep(client, body, **{"Idempotency-Key": "k"}) == first
    assert len(client.get(JOBS).json()["data"]) == 4
    other = client.post(SWEEPS, json={**body, "n_epochs": 7}, headers={"Idempotency-Key": "k"})
    assert error_of(other)["code"] == "idempotency_key_reused"
    assert sweep(client, body, **{"Idempotency-Key": "l"})["id"] != first["id"]
    assert sweep(client, body)["id"] != first["id"]


def test_a_clients_retry_makes_no_second_sweep(
    client: TestClient, clock: FakeClock, body: JsonObject
) -> None:
    retry = {"x-stainless-retry-count": "1"}
    first = sweep(client, body)
    for _ in range(120):
        create_job(client, training_file=body["training_file"])
    assert sweep(client, body, **retry) == first
    assert sweep(client, {**body, "n_epochs": 7}, **retry)["id"] != first["id"]
    clock.advance(3600)
    assert sweep(client, body, **retry)["id"] != first["id"]


@pytest.mark.parametrize(
    "headers", [{"Idempotency-Key": "k"}, {"x-stainless-retry-count": "1"}], ids=["key", "retry"]
)
def test_a_sweep_that_the_store_did_not_take_is_made_when_it_is_asked_for_again(
    client: TestClient, store: StubStore, storage: Storage, messenger: StubMessenger,
    body: JsonObject, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("Redis is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "create_jobs", away)
        first = {name: value for name, value in headers.items() if name == "Idempotency-Key"}
        error_of(client.post(SWEEPS, json=body, headers=first), 503)
    assert messenger.prepared == storage.names("jobs") == []
    found = sweep(client, body, **headers)
    assert sweep(client, body, **headers) == found
    assert len({trial["job_id"] for trial in found["trials"]}) == 4
    assert len(client.get(JOBS).json()["data"]) == len(storage.names("jobs")) == 4


@pytest.mark.parametrize("trials", [1, 4])
def test_two_requests_with_one_key_at_once_make_one_sweep(
    client: TestClient, store: StubStore, storage: Storage, messenger: StubMessenger,
    body: JsonObject, monkeypatch: pytest.MonkeyPatch, trials: int,
) -> None:  # fmt: skip
    """Neither finds the other's trials before it has kept its own in storage."""
    if trials == 1:
        body = body | {"grid": {"learning_rate": [1e-4]}}
    together = threading.Barrier(2)
    keep = store.create_jobs

    def slow(new: Any, **limit: Any) -> Any:
        together.wait(timeout=10)
        return keep(new, **limit)

    monkeypatch.setattr(store, "create_jobs", slow)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(sweep, client, body, **{"Idempotency-Key": "k"}) for _ in range(2)]
        first, second = (each.result() for each in asked)
    assert first == second
    assert len(messenger.prepared) == len(storage.names("jobs")) == trials


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text("[tenants.acme]\nmax_jobs = 5\n")
    return path


def test_a_sweep_needs_room_for_all_its_trials(
    settings: Settings, policy: Path, store: StubStore, storage: Storage, messenger: StubMessenger,
    catalogue: Mapping[str, BaseModel], clock: FakeClock,
) -> None:  # fmt: skip
    limited = settings.model_copy(update={"policy_file": policy})
    secret, key = new_api_key("acme", "test", clock.now())
    store.put_key(key)
    client = TestClient(
        create_app(limited, store, storage, messenger, catalogue, clock),
        headers={"Authorization": f"Bearer {secret}"},
    )
    file_id = upload(client)["id"]
    body = {"model": "tiny", "training_file": file_id, "grid": {"n_epochs": [1, 2, 3, 4]}}
    for _ in range(2):
        create_job(client, training_file=file_id)
    error = error_of(client.post(SWEEPS, json=body), 429)
    assert error["code"] == "job_quota_exceeded"
    assert len(client.get(JOBS).json()["data"]) == 2
    body["grid"] = {"n_epochs": [1, 2, 3]}
    first = sweep(client, body, **{"Idempotency-Key": "k"})
    assert sweep(client, body, **{"Idempotency-Key": "k"}) == first


def test_a_sweep_is_read_from_its_trials(
    client: TestClient, store: StubStore, body: JsonObject
) -> None:
    made = sweep(client, body)
    a, b, c, d = (trial["job_id"] for trial in made["trials"])
    path = f"{SWEEPS}/{made['id']}"
    assert client.get(path).json() == made
    assert (made["best_job_id"], {trial["rank"] for trial in made["trials"]}) == (None, {None})

    trained(store, a, 2.5, 2.5, step=10)
    trained(store, b, 2.0, 2.4, 2.0)
    trained(store, c, 1.0, WORST_LOSS, step=10)
    trained(store, d, math.nan)
    found = client.get(path).json()
    assert found["status"] == "running"
    assert [trial["rank"] for trial in found["trials"]] == [3, 1, 2, None]
    assert found["trials"][2]["rung_losses"] == [None]
    assert found["trials"][1]["rung_losses"] == [2.4, 2.0]
    assert (found["trials"][1]["step"], found["trials"][1]["total_steps"]) == (30, 90)
    assert client.get(f"{JOBS}/{c}").json()["progress"]["rung_losses"] == [None]

    reason = JobFailure("stopped_by_halving", "Stopped at step 10", "rung-1:x")
    move(store, a, JobState.CANCELLED, error=reason)
    move(store, b, JobState.SUCCEEDED, fine_tuned_model="ft:tiny:acme:trial-2:1")
    move(store, c, JobState.FAILED)
    move(store, d, JobState.CANCELLED)
    found = client.get(path).json()
    assert (found["status"], found["best_job_id"]) == ("succeeded", b)
    assert [trial["rank"] for trial in found["trials"]] == [2, 1, None, None]
    assert found["trials"][1]["fine_tuned_model"] == "ft:tiny:acme:trial-2:1"


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([JobState.PAUSED, JobState.FAILED], "paused"),
        ([JobState.QUEUED, JobState.PAUSED], "queued"),
        ([JobState.RUNNING, JobState.QUEUED], "running"),
        ([JobState.FAILED, JobState.CANCELLED], "failed"),
        ([JobState.CANCELLED, JobState.CANCELLED], "cancelled"),
    ],
)
def test_its_status_is_that_of_its_trials(
    client: TestClient, store: StubStore, body: JsonObject, states: list[JobState], status: str
) -> None:
    made = sweep(client, {**body, "grid": {"n_epochs": [1, 2]}})
    for trial, state in zip(made["trials"], states, strict=True):
        store.update_job(trial["job_id"], lambda job, state=state: replace(job, state=state))
    assert client.get(f"{SWEEPS}/{made['id']}").json()["status"] == status


def test_sweeps_are_paged_newest_first(
    client: TestClient, clock: FakeClock, body: JsonObject
) -> None:
    ids: list[str] = []
    for _ in range(3):
        ids.insert(0, sweep(client, body)["id"])
        create_job(client, training_file=body["training_file"], group="sweep-of-mine")
        clock.advance(1)
    page = client.get(SWEEPS, params={"limit": 2}).json()
    assert [found["id"] for found in page["data"]] == ids[:2]
    assert (page["has_more"], page["last_id"]) == (True, ids[1])
    assert len(page["data"][0]["trials"]) == 4
    rest = client.get(SWEEPS, params={"after": ids[1]}).json()
    assert [found["id"] for found in rest["data"]] == ids[2:]
    assert rest["has_more"] is False
    error_of(client.get(SWEEPS, params={"after": "sweep-missing"}), 404)
    error_of(client.get(SWEEPS, params={"limit": 0}))


def test_a_page_of_sweeps_reads_no_older_jobs(
    client: TestClient, store: StubStore, clock: FakeClock, body: JsonObject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    body["grid"] = {"n_epochs": list(range(1, 61))}
    ids: list[str] = []
    for _ in range(5):
        ids.insert(0, sweep(client, body)["id"])
        clock.advance(1)
    read, list_jobs = [0], store.list_jobs

    def counted(tenant: str, **page: Any) -> list[Job]:
        found = list_jobs(tenant, **page)
        read[0] += len(found)
        return found

    monkeypatch.setattr(store, "list_jobs", counted)
    for after, wanted in ((None, ids[0]), (ids[1], ids[2])):
        read[0] = 0
        page = client.get(SWEEPS, params={"limit": 1} | ({"after": after} if after else {})).json()
        assert ([found["id"] for found in page["data"]], page["has_more"]) == ([wanted], True)
        assert len(page["data"][0]["trials"]) == 60
        assert read[0] <= 200  # of 300


def test_a_sweep_that_was_made_whole_later_is_listed_once(
    client: TestClient, store: StubStore, clock: FakeClock, body: JsonObject
) -> None:
    """Its trials lie around those of another, and it is as new as the newest of them."""
    mended = sweep(client, body)
    clock.advance(1)
    between = sweep(client, body)["id"]
    clock.advance(1)
    late = mended["trials"][2]["job_id"]
    store.update_job(late, lambda job: replace(job, created_at=clock.now()))
    found = client.get(SWEEPS).json()["data"]
    assert [each["id"] for each in found] == [mended["id"], between]
    assert found[0]["trials"] == mended["trials"]
    for after, rest in ((mended["id"], [between]), (between, [])):
        page = client.get(SWEEPS, params={"after": after}).json()
        assert [each["id"] for each in page["data"]] == rest


def test_cancelling_ends_what_has_not_ended(
    client: TestClient, store: StubStore, storage: Storage, body: JsonObject
) -> None:
    made = sweep(client, body)
    ids = [trial["job_id"] for trial in made["trials"]]
    trained(store, ids[0], 2.0)
    move(store, ids[0], JobState.SUCCEEDED)
    trained(store, ids[1], 3.0)
    cancelled = client.post(f"{SWEEPS}/{made['id']}/cancel").json()
    states = [trial["status"] for trial in cancelled["trials"]]
    assert states == ["succeeded"] + ["cancelled"] * 3
    assert store.get_job(ids[1]).epoch == 1
    assert store.get_job(ids[1]).finished_at is not None
    assert json.loads(storage.read(layout.job_record(ids[2])))["state"] == "cancelled"
    error = error_of(client.post(f"{SWEEPS}/{made['id']}/cancel"))
    assert error["code"] == "illegal_transition"


def test_another_tenants_sweep_is_not_there(
    client: TestClient, stranger: TestClient, body: JsonObject
) -> None:
    made = sweep(client, body)
    error_of(stranger.get(f"{SWEEPS}/{made['id']}"), 404)
    error_of(stranger.post(f"{SWEEPS}/{made['id']}/cancel"), 404)
    assert stranger.get(SWEEPS).json()["data"] == []
    assert client.get(f"{SWEEPS}/{made['id']}").json()["status"] == "validating_files"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["auto", "lora", "paca", "meft"]),
)
KEYS = st.sampled_from(["type", "rank", "alpha", "target_modules", "num_keys"]) | st.text(
    st.characters(exclude_categories=()), max_size=4
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
KNOBS = st.sampled_from(
    ["adapter", "adapter.rank", "adapter.type", "adapter.", "seed", "n_epochs", "learning_rate",
     "lr_scheduler", "max_steps", "group", "adapter.layers", "overlong"]
) | st.text(st.characters(exclude_categories=()), max_size=4)  # fmt: skip


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    grid=st.dictionaries(KNOBS, st.lists(VALUES, max_size=3) | VALUES, max_size=3),
    more=st.dictionaries(
        st.sampled_from(["samples", "halving", "metadata", "suffix", "adapter", "seed"]),
        VALUES,
        max_size=2,
    ),
)
def test_any_grid_has_an_answer(
    client: TestClient, body: JsonObject, grid: JsonObject, more: JsonObject
) -> None:
    answer = client.post(
        SWEEPS,
        content=json.dumps(body | more | {"grid": grid}),
        headers={"Content-Type": "application/json"},
    )
    if answer.status_code != 200:
        error_of(answer, 400)
    assert client.get(SWEEPS, params={"limit": 1}).status_code == 200
