"""Creating a job: what may be asked for, in which places, and what is refused with what words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from api_calls import CHAT_LINE, create_job, error_of, upload
from factories import make_worker
from openai.types.fine_tuning import FineTuningJob
from predicted_bytes import predict_host_bytes
from starlette.testclient import TestClient

from pando_shared import layout
from pando_shared.adapters import MeftConfig
from pando_shared.base_format import BaseFormat
from pando_shared.catalogue import BaseModel
from pando_shared.clock import FakeClock
from pando_shared.records import FileRecord
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore


def refused(client: TestClient, status: int = 400, **body: Any) -> dict[str, Any]:
    body.setdefault("model", "tiny")
    body.setdefault("training_file", "")
    if body["training_file"] == "":
        body["training_file"] = upload(client)["id"]
    answer = client.post("/v1/fine_tuning/jobs", json=body)
    assert client.get("/v1/fine_tuning/jobs").json()["data"] == []
    return error_of(answer, status)


def test_a_plain_job_is_kept_and_prepared(
    client: TestClient, storage: Storage, messenger: StubMessenger, clock: FakeClock
) -> None:
    file_id = upload(client)["id"]
    job = create_job(client, training_file=file_id)
    parsed = FineTuningJob.model_validate(job)
    assert parsed.status == "validating_files"
    assert parsed.organization_id == "acme"
    assert parsed.created_at == int(clock.now())
    assert (parsed.training_file, parsed.validation_file) == (file_id, None)
    assert parsed.hyperparameters.n_epochs == "auto"
    assert parsed.method is not None
    assert parsed.method.type == "supervised"
    assert parsed.result_files == []
    assert (parsed.error, parsed.fine_tuned_model, parsed.finished_at) == (None, None, None)
    assert job["adapter"]["type"] == "lora"
    assert messenger.prepared == [job["id"]]
    assert json.loads(storage.read(layout.job_record(job["id"])))["id"] == job["id"]


@pytest.mark.parametrize(
    "places",
    [
        {"n_epochs": 3, "learning_rate": 0.01, "adapter": {"type": "paca", "rank": 4}},
        {
            "hyperparameters": {
                "n_epochs": 3,
                "learning_rate": 0.01,
                "adapter": {"type": "paca", "rank": 4},
            }
        },
        {
            "method": {
                "type": "supervised",
                "supervised": {
                    "hyperparameters": {"n_epochs": 3, "adapter": {"type": "paca", "rank": 4}}
                },
            },
            "learning_rate": 0.01,
        },
        {
            "hyperparameters": {"n_epochs": 9, "learning_rate": 0.01},
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 3}},
            },
            "adapter": {"type": "paca", "rank": 4},
        },
    ],
)
def test_knobs_are_read_in_all_their_places(client: TestClient, places: dict[str, Any]) -> None:
    job = create_job(client, **places)
    assert job["hyperparameters"]["n_epochs"] == 3
    assert job["hyperparameters"]["learning_rate"] == 0.01
    assert (job["adapter"]["type"], job["adapter"]["rank"]) == ("paca", 4)


def test_everything_of_the_protocol_is_kept(client: TestClient) -> None:
    validation = upload(client, name="valid.jsonl")["id"]
    job = create_job(
        client,
        validation_file=validation,
        suffix="my-run",
        seed=7,
        metadata={"team": "a"},
        integrations=None,
        priority="high",
        group="sweep",
        hyperparameters={"n_epochs": "auto", "batch_size": 2, "learning_rate_multiplier": 0.5},
    )
    FineTuningJob.model_validate(job)
    assert job["validation_file"] == validation
    assert (job["suffix"], job["seed"], job["metadata"]) == ("my-run", 7, {"team": "a"})
    assert (job["priority"], job["group"]) == ("high", "sweep")
    shown = job["hyperparameters"]
    assert (shown["n_epochs"], shown["batch_size"]) == ("auto", 2)
    assert shown["learning_rate_multiplier"] == 0.5


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"model": "gpt-9"}, "model", "there are: org/with-slash, tiny"),
        ({"adapter": {"type": "lora", "rnak": 8}}, "adapter.rnak", "did you mean 'rank'"),
        ({"adapter": {"rank": 0}}, "adapter.rank", "1..1024"),
        ({"adapter": {"rank": "8"}}, "adapter.rank", "int"),
        ({"adapter": {"alpha": 10**400}}, "adapter", "too large"),
        ({"adapter": {"type": "dora"}}, "adapter.type", "lora, paca, meft"),
        ({"adapter": {"target_modules": ["q_proj", "k_prj"]}}, "adapter.target_modules", "v_proj"),
        ({"adapter": {"target_modules": "\ud800"}}, "adapter.target_modules", "q_proj"),
        ({"adapter": {"type": "paca", "rank": 65}}, "adapter.rank", "64 input columns"),
        ({"adapter": {"type": "meft", "layers": [0, 99]}}, "adapter.layers", "names 99"),
        ({"adapter": {"type": "meft", "layers": [1, 1]}}, "adapter.layers", "once"),
        ({"adapter": {"type": "meft", "layers": []}}, "adapter.layers", "at least one"),
        ({"adapter": {"type": "meft", "layers": [True]}}, "adapter.layers", "whole numbers"),
        ({"adapter": {"type": "meft", "layers": 3}}, "adapter.layers", "list"),
        ({"adapter": {"type": "meft", "balance": -1}}, "adapter.balance", "0 or more"),
        (
            {"adapter": {"type": "meft", "num_keys": 32768, "num_experts": 8}},
            "adapter.num_probes",
            "would look at 32768 keys",
        ),
        ({"adapter": "lora"}, "adapter", "dict"),
        ({"learning_rate": -1e-3}, "learning_rate", "positive"),
        ({"learning_rat": 1e-3}, "learning_rat", "did you mean 'learning_rate'"),
        ({"hyperparameters": {"epochs": 1}}, "epochs", "n_epochs"),
        ({"n_epochs": 0}, "n_epochs", "at least 1"),
        ({"n_epochs": 10**30}, "n_epochs", "10000"),
        ({"n_epochs": "many"}, "n_epochs", "valid integer, or Input should be 'auto'; got 'many'"),
        ({"n_epochs": True}, "n_epochs", "int"),
        ({"batch_size": 1.5}, "batch_size", "int"),
        ({"lr_scheduler": "step"}, "lr_scheduler", "cosine"),
        ({"warmup_ratio": 1.0}, "warmup_ratio", "[0, 1)"),
        ({"max_seq_length": 257}, "max_seq_length", "256 positions"),
        ({"seed": -1}, "seed", "seed"),
        ({"priority": "urgent"}, "priority", "high"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"suffix": "a:b"}, "suffix", "pattern"),
        ({"metadata": {str(n): "v" for n in range(17)}}, "metadata", "16"),
        ({"metadata": {"k" * 65: "v"}}, None, "64"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "512"),
        ({"metadata": {"k": 1}}, "metadata.k", "string"),
        ({"method": {"type": "dpo", "dpo": {}}}, "method.type", "'supervised' is"),
        ({"method": {"type": "reinforcement"}}, "method.type", "'supervised' is"),
        ({"method": {"type": "telepathy"}}, "method.type", "supervised"),
        ({"model": None}, "model", "string"),
    ],
)
def test_bad_input_is_named(
    client: TestClient, body: dict[str, Any], param: str | None, says: str
) -> None:
    file_id = upload(client)["id"]
    # Spelt by json.dumps, because an HTTP client refuses to send a lone surrogate as UTF-8.
    content = json.dumps({"model": "tiny", "training_file": file_id, **body})
    error = error_of(
        client.post(
            "/v1/fine_tuning/jobs", content=content, headers={"Content-Type": "application/json"}
        )
    )
    assert says in error["message"]
    if param is not None:
        assert error["param"] == param
    assert client.get("/v1/fine_tuning/jobs").json()["data"] == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client: TestClient, value: str) -> None:
    file_id = upload(client)["id"]
    body = f'"model": "tiny", "training_file": "{file_id}"'
    for knob in (f'"learning_rate": {value}', f'"adapter": {{"alpha": {value}}}'):
        content = f"{{{body}, {knob}}}"
        headers = {"Content-Type": "application/json"}
        error_of(client.post("/v1/fine_tuning/jobs", content=content, headers=headers))


def test_missing_fields_are_named(client: TestClient) -> None:
    error = error_of(client.post("/v1/fine_tuning/jobs", json={"model": "tiny"}))
    assert error["param"] == "training_file"


def test_a_missing_file_and_a_strangers_file_are_the_same_404(
    client: TestClient, stranger: TestClient
) -> None:
    theirs = upload(stranger)["id"]
    for file_id in ("file-missing", theirs):
        error = refused(client, 404, training_file=file_id)
        assert error["message"] == f"no file '{file_id}'"
        assert error["param"] == "training_file"
        assert refused(client, 404, validation_file=file_id)["param"] == "validation_file"


def test_results_are_not_training_data(client: TestClient, store: StubStore) -> None:
    store.put_file(FileRecord("file-r", "acme", "r.csv", "fine-tune-results", 1, 0.0))
    assert "fine-tune-results" in refused(client, training_file="file-r")["message"]


def test_a_job_that_never_fits_is_refused_with_both_figures(
    client: TestClient, store: StubStore
) -> None:
    store.put_worker(make_worker("small", budget_bytes=1_000))
    store.put_worker(make_worker("big", budget_bytes=2_000))
    store.put_worker(make_worker("other", budget_bytes=1 << 40, models=("llama",)))
    error = refused(client)
    assert error["code"] == "job_too_large"
    assert "big, has 2000 bytes" in error["message"]
    assert "the job needs" in error["message"]
    store.put_worker(make_worker("huge", budget_bytes=1 << 40))
    create_job(client)


def test_a_job_too_large_for_every_host_is_refused_with_both_figures(
    client: TestClient, store: StubStore, base: BaseModel
) -> None:
    def put(worker_id: str, host_budget_bytes: int) -> None:
        gpu = make_worker(worker_id, device="cuda:0", budget_bytes=1 << 40)
        store.put_worker(replace(gpu, host_budget_bytes=host_budget_bytes))

    put("small", 1_000)
    put("big", 1 << 30)
    adapter = {"type": "meft", "num_keys": 1 << 20}
    error = refused(client, adapter=adapter)
    wanted = MeftConfig(num_keys=1 << 20)
    needed = int(predict_host_bytes(base, [wanted], BaseFormat(), "cuda:0") * 1.1)
    assert error["code"] == "job_too_large"
    assert f"the job needs {needed} bytes" in error["message"]
    assert "of host memory with headroom, where the largest worker, big" in error["message"]
    assert "has 1073741824 bytes (1.00 GiB)" in error["message"]
    assert "GPU memory" not in error["message"]
    create_job(client)
    put("huge", needed)
    create_job(client, adapter=adapter)


def test_a_retried_create_finds_its_job(
    client: TestClient, messenger: StubMessenger, clock: FakeClock
) -> None:
    body = {"model": "tiny", "training_file": upload(client)["id"]}

    def create(retry: int, **headers: str) -> str:
        headers["x-stainless-retry-count"] = str(retry)
        answer = client.post("/v1/fine_tuning/jobs", json=body, headers=headers)
        assert answer.status_code == 200
        return str(answer.json()["id"])

    first = create(0)
    assert create(1) == first
    assert create(2) == first
    second = create(0)
    assert second != first
    assert messenger.prepared == [first, second]
    clock.advance(24 * 3600)
    assert create(1) not in (first, second)


@pytest.mark.parametrize(
    "headers", [{"Idempotency-Key": "k"}, {"x-stainless-retry-count": "1"}], ids=["key", "retry"]
)
def test_it_is_found_among_however_many(client: TestClient, headers: dict[str, str]) -> None:
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    path = "/v1/fine_tuning/jobs"
    first = {name: text for name, text in headers.items() if name == "Idempotency-Key"}
    made = client.post(path, json=body, headers=first).json()["id"]
    for seed in range(1000, 1120):
        create_job(client, training_file=body["training_file"], seed=seed)
    assert client.post(path, json=body, headers=headers).json()["id"] == made


def test_an_idempotency_key_is_honoured(
    client: TestClient, stranger: TestClient, storage: Storage, messenger: StubMessenger
) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    first, again = (
        client.post("/v1/fine_tuning/jobs", json=body, headers=headers).json() for _ in range(2)
    )
    assert again["id"] == first["id"]
    assert messenger.prepared == [first["id"]]
    assert storage.names("jobs") == [first["id"]]
    other = client.post("/v1/fine_tuning/jobs", json={**body, "seed": 1}, headers=headers)
    assert error_of(other)["code"] == "idempotency_key_reused"
    theirs = {"model": "tiny", "training_file": upload(stranger)["id"]}
    answer = stranger.post("/v1/fine_tuning/jobs", json=theirs, headers=headers)
    assert answer.json()["id"] != first["id"]


def test_data_lines_are_not_read_here(client: TestClient) -> None:
    """A broken file fails its job in `prepare`, where the line can be named."""
    file_id = upload(client, CHAT_LINE + "\nnot json\n")["id"]
    assert create_job(client, training_file=file_id)["status"] == "validating_files"


@pytest.mark.parametrize(
    ("knobs", "param"),
    [
        ({"learning_rate": 1e39}, "learning_rate"),
        ({"learning_rate": 1e30, "learning_rate_multiplier": 1e30}, "learning_rate_multiplier"),
        ({"weight_decay": 1e308}, "weight_decay"),
        ({"max_grad_norm": 3.5e38}, "max_grad_norm"),
        ({"adam_epsilon": 1e308}, "adam_epsilon"),
        ({"adapter": {"type": "lora", "alpha": 1e308}}, "adapter.alpha"),
        ({"adapter": {"type": "paca", "alpha": 1e39}}, "adapter.alpha"),
        ({"adapter": {"type": "meft", "balance": 1e308}}, "adapter.balance"),
    ],
)
def test_a_number_that_no_step_can_compute_with(
    client: TestClient, knobs: dict[str, Any], param: str
) -> None:
    error = refused(client, **knobs)
    assert error["param"] == param
    assert "at most 3.4e38" in error["message"]


def test_the_largest_that_one_can(client: TestClient) -> None:
    largest = float(np.finfo(np.float32).max)
    create_job(client, max_grad_norm=largest, adapter={"type": "lora", "alpha": largest})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["q_proj", "v_proj", "q_proj"], "names a module twice"),
        ([f"layers.{number}.q_proj" for number in range(1001)], "has 1001 names, more than 1000"),
        (["x" * 250 + ".q_proj"], "a name of more than 256 characters"),
    ],
)
def test_a_job_is_not_made_long_by_its_targets(
    client: TestClient, names: list[str], said: str
) -> None:
    error = refused(client, adapter={"type": "lora", "target_modules": names})
    assert said in error["message"]
    assert error["param"] == "adapter.target_modules"


def test_of_many_unknown_targets_three_are_named(client: TestClient) -> None:
    names = [f"module_{number}" for number in range(500)]
    error = refused(client, adapter={"type": "lora", "target_modules": names})
    assert "'module_2'; it has" in error["message"]
    assert "module_3" not in error["message"]


def test_a_number_of_probes_beyond_all_computing(client: TestClient) -> None:
    error = refused(client, adapter={"type": "meft", "num_probes": 10**4000})
    assert error["param"] == "adapter.num_probes"
    assert len(error["message"]) < 200
