"""The stock client and `pando`, through the proxies of docs/https.md, on a running stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from https_proxy import PROXIES, HttpsProxy, needs
from local_stack import LocalStack, eventually
from openai import OpenAI
from stack_jobs import StackJobs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "demo" / "pirate.jsonl"
MIB = 1 << 20
#: Above a part's 64 MiB, and above what nginx takes unless told otherwise.
LARGE_BYTES, LIMIT_BYTES = 80 * MIB, 96 * MIB
#: Within which something of a stream is here, on two busy cores; a silent one says so every 15 s.
PROMPT_SECONDS = 12.0


@dataclass(frozen=True)
class Behind:
    stack: LocalStack
    proxy: HttpsProxy
    client: OpenAI
    folder: Path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    limits = {"PANDO_MAX_UPLOAD_BYTES": str(LIMIT_BYTES), "PANDO_TRUSTED_PROXIES": "127.0.0.1"}
    home = tmp_path_factory.mktemp("pando") / "home"
    with LocalStack(home, environment=limits).running() as made:
        yield made


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in PROXIES])
def behind(
    request: pytest.FixtureRequest, stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp(request.param)
    api = httpx.URL(stack.up["url"]).netloc.decode()
    with (
        PROXIES[request.param](folder / "proxy", api) as proxy,
        proxy.client(stack.up["api_key"]) as client,
    ):
        yield Behind(stack, proxy, client, folder)


def lines(path: Path, size: int) -> Path:
    """A training file of so many bytes."""
    line = json.dumps({"text": "a bee lives in a hive " * 400}) + "\n"
    with path.open("w") as file:
        file.write(line * (size // len(line)))
        rest = size - file.tell() - len(json.dumps({"text": ""})) - 1
        file.write(json.dumps({"text": "a" * rest}) + "\n")
    assert path.stat().st_size == size
    return path


def test_a_job_from_its_file_to_what_it_says(behind: Behind) -> None:
    client = behind.client
    file = client.files.create(file=DATA, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, extra_body={"adapter": {"type": "lora"}}
    )
    assert eventually(
        lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded", 240
    ), client.fine_tuning.jobs.retrieve(job.id)
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert b"train_loss" in client.files.content(done.result_files[0]).content
    pieces = client.chat.completions.create(
        model=str(done.fine_tuned_model),
        messages=[{"role": "user", "content": "Where does a bee live?"}],
        max_tokens=16,
        stream=True,
    )
    assert len([piece for piece in pieces if piece.choices and piece.choices[0].delta.content]) > 1


def test_events_come_when_they_happen(behind: Behind) -> None:
    """Of a job that is paused nothing follows for long, so that a proxy that waits for more of a
    stream before it passes any on is found out."""
    jobs = StackJobs(behind.stack, DATA)
    job_id = jobs.start("tiny", adapter={"type": "lora"}, hyperparameters={"n_epochs": 50})
    jobs.wait_for_step(job_id, 1)
    jobs.client.fine_tuning.jobs.pause(job_id)
    jobs.wait(job_id, lambda job: job.status == "paused")
    (newest,) = jobs.client.fine_tuning.jobs.list_events(job_id, limit=1).data
    path = f"/v1/fine_tuning/jobs/{job_id}/events?stream=true"
    key = {"Authorization": f"Bearer {behind.stack.up['api_key']}"}
    try:
        with (
            behind.proxy.http() as http,
            http.stream("GET", path, headers=key, timeout=PROMPT_SECONDS) as answer,
        ):
            ids = (line.split()[1] for line in answer.iter_lines() if line.startswith("id:"))
            assert newest.id in ids
            jobs.client.fine_tuning.jobs.resume(job_id)
            assert next(ids)
    finally:
        jobs.client.fine_tuning.jobs.cancel(job_id)


def test_large_files_come_through_and_too_large_ones_are_told_so(behind: Behind) -> None:
    client = behind.client
    large = lines(behind.folder / "large.jsonl", LARGE_BYTES)
    whole = client.files.create(file=large, purpose="fine-tune")
    upload = client.uploads.upload_file_chunked(
        file=large, mime_type="text/jsonl", purpose="fine-tune"
    )
    assert upload.file is not None
    assert whole.bytes == upload.file.bytes == LARGE_BYTES
    for file_id in (whole.id, upload.file.id):
        client.files.delete(file_id)
    too_large = lines(behind.folder / "too-large.jsonl", LIMIT_BYTES + MIB)
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=too_large, purpose="fine-tune")
    assert (refused.value.status_code, refused.value.code) == (413, "file_too_large")


def test_the_command_line_trusts_an_authority_of_the_site(behind: Behind) -> None:
    there = {"PANDO_URL": behind.proxy.url, "PANDO_API_KEY": str(behind.stack.up["api_key"])}
    done = behind.stack.pando(
        "models", "--json", **there, SSL_CERT_FILE=str(behind.proxy.authority)
    )
    assert done.code == 0, done.out + done.err
    assert "tiny" in done.out
    unknown = behind.stack.pando("models", **there)
    assert unknown.code == 3
    assert "certificate" in (unknown.out + unknown.err).lower()
