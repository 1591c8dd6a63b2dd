"""/v1/fine_tuning/estimate, and what it counts tokens with."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from api_calls import create_job, error_of, upload
from factories import make_worker
from predicted_bytes import predict_host_bytes, predict_peak_bytes
from starlette.testclient import TestClient
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from pando_api.token_count import SAMPLE_BYTES, count_tokens
from pando_shared.adapters import MeftConfig
from pando_shared.base_format import BaseFormat
from pando_shared.catalogue import BaseModel
from pando_shared.clock import FakeClock
from pando_shared.errors import InvalidTrainingFile
from pando_shared.forecasts import Forecast
from pando_shared.jobs import JobState
from pando_shared.memory import resident_bytes
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore

PATH = "/v1/fine_tuning/estimate"
#: Three words of text; a role is none.
QUESTION = {"role": "user", "content": "a b"}
ANSWER = {"role": "assistant", "content": "c"}
LINE = json.dumps({"messages": [QUESTION, ANSWER]})


@pytest.fixture
def words(tmp_path: Path) -> str:
    """A model folder whose tokenizer counts words."""
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_small_file_is_counted_line_by_line(words: str) -> None:
    count = count_tokens(io.BytesIO(f"{LINE}\n\n{LINE}".encode()), words)
    # Three words and an end-of-sequence each.
    assert (count.examples, count.tokens, count.basis) == (2, 8, "counted")


def test_a_large_file_is_scaled_up_from_its_beginning(words: str) -> None:
    lines = 3 * SAMPLE_BYTES // (len(LINE) + 1)
    count = count_tokens(io.BytesIO(f"{LINE}\n".encode() * lines), words)
    assert (count.examples, count.basis) == (lines, "sampled")
    assert count.tokens == pytest.approx(4 * lines, rel=1e-3)


def test_without_a_tokenizer_bytes_are_counted(tmp_path: Path) -> None:
    count = count_tokens(io.BytesIO(b'{"text": "abcdefgh"}\n'), str(tmp_path))
    assert (count.examples, count.tokens, count.basis) == (1, 5, "bytes")


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"{}\nnope", b"[]", b"\xff\xfe\n", b"[" * 99_999]
)
def test_what_is_no_data_is_refused(words: str, content: bytes) -> None:
    with pytest.raises(InvalidTrainingFile) as caught:
        count_tokens(io.BytesIO(content), words)
    assert "line" in caught.value.message or "no example" in caught.value.message


@pytest.mark.usefixtures("words")
def test_an_estimate_adds_up_and_creates_nothing(
    client: TestClient, store: StubStore, storage: Storage, clock: FakeClock, base: BaseModel
) -> None:
    worker = make_worker(
        budget_bytes=1 << 34, token_budget=512, tokens_per_second=12.0, heartbeat_at=clock.now()
    )
    store.put_worker(worker)
    file_id = upload(client, f"{LINE}\n" * 6)["id"]
    body = {"model": "tiny", "training_file": file_id, "n_epochs": 2, "batch_size": 4}
    found = client.post(PATH, json={**body, "adapter": {"rank": 4}}).json()
    assert (found["examples"], found["steps"], found["tokens"]) == (6, 4, 48)
    assert (found["token_count"], found["duration_seconds"]) == ("counted", 4.0)
    assert found["earliest_start"] == int(clock.now())
    adapter = create_job(client, **body, adapter={"rank": 4})
    kept = store.get_job(adapter["id"]).spec.adapter
    assert found["predicted_peak_bytes"] == predict_peak_bytes(
        base, [kept], 512, BaseFormat(), "cpu", resident_bytes(base, BaseFormat())
    )
    assert storage.names("jobs") == [adapter["id"]]


@pytest.mark.usefixtures("words")
def test_an_estimate_has_the_bytes_of_a_gpu_workers_host(
    client: TestClient, store: StubStore, clock: FakeClock, base: BaseModel
) -> None:
    body = {"model": "tiny", "training_file": upload(client)["id"], "adapter": {"type": "meft"}}
    found = client.post(PATH, json=body).json()
    assert (found["predicted_host_bytes"], found["largest_worker_host_bytes"]) == (0, None)
    gpu = make_worker(device="cuda:0", budget_bytes=1 << 36, heartbeat_at=clock.now())
    store.put_worker(replace(gpu, host_budget_bytes=1 << 35))
    found = client.post(PATH, json=body).json()
    expected = predict_host_bytes(base, [MeftConfig()], BaseFormat(), "cuda:0")
    assert (found["predicted_host_bytes"], found["largest_worker_host_bytes"]) == (
        expected,
        1 << 35,
    )
    assert found["largest_worker_bytes"] == 1 << 36


@pytest.mark.usefixtures("words")
def test_what_is_not_known_is_null(client: TestClient) -> None:
    found = client.post(PATH, json={"model": "tiny", "training_file": upload(client)["id"]}).json()
    assert found["duration_seconds"] is None
    assert found["earliest_start"] is None
    assert found["predicted_peak_bytes"] > 0


@pytest.mark.usefixtures("words")
def test_a_job_starts_after_those_that_wait_and_are_of_no_lower_class(
    client: TestClient, stranger: TestClient, store: StubStore, clock: FakeClock
) -> None:
    now = clock.now()
    worker = make_worker(budget_bytes=1 << 34, heartbeat_at=now)
    store.put_worker(worker)
    starts = {"high": 60.0, "normal": 300.0, "low": 900.0}
    for priority, seconds in starts.items():
        job_id = create_job(stranger, priority=priority)["id"]
        store.update_job(job_id, lambda job: job.to(JobState.QUEUED))
        store.put_forecasts([Forecast(job_id, now, 1, "why", now + seconds)])
    body = {"model": "tiny", "training_file": upload(client)["id"]}

    def earliest(priority: str) -> int:
        found: int = client.post(PATH, json={**body, "priority": priority}).json()["earliest_start"]
        return found

    assert {priority: earliest(priority) - int(now) for priority in starts} == starts
    clock.advance(400)
    store.put_worker(replace(worker, heartbeat_at=clock.now()))
    assert earliest("normal") == int(clock.now())


@pytest.mark.usefixtures("words")
def test_who_is_held_back_keeps_nobody_waiting(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    store.put_worker(make_worker(budget_bytes=1 << 34, heartbeat_at=clock.now()))
    job_id = create_job(client)["id"]
    store.update_job(job_id, lambda job: job.to(JobState.QUEUED))
    store.put_forecasts([Forecast(job_id, clock.now(), None, "waits for rung 1 of its sweep")])
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    assert client.post(PATH, json=body).json()["earliest_start"] == int(clock.now())


@pytest.mark.usefixtures("words")
def test_a_job_ahead_without_a_forecast_leaves_the_start_open(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    store.put_worker(
        make_worker(budget_bytes=1 << 34, tokens_per_second=1.0, heartbeat_at=clock.now())
    )
    job_id = create_job(client)["id"]
    store.update_job(job_id, lambda job: job.to(JobState.QUEUED))
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    assert client.post(PATH, json=body).json()["earliest_start"] is None
    urgent = client.post(PATH, json={**body, "priority": "high"}).json()
    assert urgent["earliest_start"] == int(clock.now())


@pytest.mark.usefixtures("words")
def test_it_refuses_what_a_create_refuses(client: TestClient, stranger: TestClient) -> None:
    file_id = upload(client)["id"]
    error_of(client.post(PATH, json={"model": "no", "training_file": file_id}))
    error_of(stranger.post(PATH, json={"model": "tiny", "training_file": file_id}), 404)
    broken = upload(client, LINE + "\nnope")["id"]
    error = error_of(client.post(PATH, json={"model": "tiny", "training_file": broken}))
    assert (error["code"], "line 2" in error["message"]) == ("invalid_training_file", True)
