"""Every call of the stock client that Pando promises, sync and async, against a running stack.

Needs nothing of Pando itself, so that it also runs beside another version of the client
(`test_openai_versions.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import inspect
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from stack_access import Stack

pytestmark = pytest.mark.e2e

#: Longer than any wait here takes on two cores, training included.
PATIENCE_SECONDS = 180.0
ENDED = ("succeeded", "failed", "cancelled")
CSV_HEADER = (
    "step,train_loss,train_accuracy,train_mean_token_accuracy,"
    "valid_loss,valid_mean_token_accuracy,full_valid_loss,full_valid_mean_token_accuracy"
)

Client = Any


@pytest.fixture(params=[OpenAI, AsyncOpenAI])
async def client(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[Client]:
    made = request.param(base_url=f"{stack.url}/v1", api_key=stack.api_key)
    yield made
    await done(made.close())


async def done(result: Any) -> Any:
    """What a call came to, whichever of the two clients made it."""
    return await result if inspect.isawaitable(result) else result


async def collect(pages: Any) -> list[Any]:
    """Everything in a list, the client fetching page after page by itself."""
    if hasattr(pages, "__aiter__"):
        return [item async for item in pages]
    return list(pages)


def chat_lines(count: int) -> bytes:
    turns = [
        [
            {"role": "user", "content": f"Say the number {number}."},
            {"role": "assistant", "content": f"The number is {number}."},
        ]
        for number in range(count)
    ]
    return "".join(json.dumps({"messages": messages}) + "\n" for messages in turns).encode()


async def upload(client: Client, count: int = 8) -> Any:
    file = ("train.jsonl", chat_lines(count))
    return await done(client.files.create(file=file, purpose="fine-tune"))


async def start(client: Client, stack: Stack, **options: Any) -> Any:
    """A small LoRA job, unless `options` say otherwise."""
    if "training_file" not in options:
        options["training_file"] = (await upload(client)).id
    options.setdefault("extra_body", {"adapter": {"type": "lora", "rank": 4}})
    options.setdefault(
        "method",
        {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}},
        },
    )
    return await done(client.fine_tuning.jobs.create(model=stack.base, **options))


async def wait_for(client: Client, job_id: str, wanted: Callable[[str], bool]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        job = await done(client.fine_tuning.jobs.retrieve(job_id))
        if wanted(job.status):
            return job
        assert job.status not in ENDED, f"{job_id} ended as {job.status}: {job.error}"
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{job_id} is still {job.status} after {PATIENCE_SECONDS} s")


async def stop(client: Client, job_id: str) -> None:
    """Cancel a job that may have ended by itself meanwhile."""
    with contextlib.suppress(openai.BadRequestError):
        await done(client.fine_tuning.jobs.cancel(job_id))


async def test_files(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(chat_lines(3))
    made = await done(client.files.create(file=path, purpose="fine-tune"))
    assert (made.object, made.filename, made.purpose) == ("file", "train.jsonl", "fine-tune")
    assert made.bytes == path.stat().st_size
    assert await done(client.files.retrieve(made.id)) == made
    assert (await done(client.files.wait_for_processing(made.id))).status == "processed"

    content = await done(client.files.content(made.id))
    assert content.content == path.read_bytes()
    with pytest.warns(DeprecationWarning, match="content"):
        text = await done(client.files.retrieve_content(made.id))
    assert text == path.read_text()

    more = [(await upload(client, 1)).id for _ in range(2)]
    listed = [file.id for file in await collect(client.files.list(limit=1, purpose="fine-tune"))]
    assert listed[:3] == [*more[::-1], made.id]
    assert len(listed) == len(set(listed))
    for file_id in (*more, made.id):
        deleted = await done(client.files.delete(file_id))
        assert (deleted.id, deleted.deleted) == (file_id, True)
    with pytest.raises(openai.NotFoundError):
        await done(client.files.retrieve(made.id))


async def test_a_file_in_parts(client: Client, stack: Stack) -> None:
    """Of a size that takes several parts, and a job that trains on what they make."""
    content = chat_lines(8)
    made = await done(
        client.uploads.upload_file_chunked(
            file=content,
            filename="parts.jsonl",
            bytes=len(content),
            mime_type="application/jsonl",
            purpose="fine-tune",
            part_size=len(content) // 3,
        )
    )
    assert (made.object, made.status, made.bytes) == ("upload", "completed", len(content))
    stored = await done(client.files.content(made.file.id))
    assert stored.content == content
    job = await start(client, stack, training_file=made.file.id)
    await wait_for(client, job.id, lambda status: status == "succeeded")


async def test_from_a_job_to_an_adapter(client: Client, stack: Stack) -> None:
    validation = await upload(client, 2)
    made = await start(
        client, stack, validation_file=validation.id, suffix="numbers", seed=7, metadata={"k": "v"}
    )
    assert made.object == "fine_tuning.job"
    assert (made.model, made.seed, made.metadata) == (stack.base, 7, {"k": "v"})
    assert made.hyperparameters.n_epochs == 2
    assert made.adapter["type"] == "lora"

    job = await wait_for(client, made.id, lambda status: status == "succeeded")
    assert job.fine_tuned_model.startswith(f"ft:{stack.base}:")
    assert ":numbers:" in job.fine_tuned_model
    assert job.trained_tokens > 0
    assert job.finished_at >= job.created_at

    events = await collect(client.fine_tuning.jobs.list_events(job.id, limit=1))
    assert len(events) == len({event.id for event in events}) >= 4
    assert events[-1].message == f"Created fine-tuning job: {job.id}"
    steps = [event for event in events if re.match(r"Step \d+/\d+: training loss=", event.message)]
    assert steps[0].type == "metrics"
    assert steps[0].data["train_loss"] > 0

    checkpoints = await collect(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    for checkpoint in checkpoints:
        assert checkpoint.fine_tuning_job_id == job.id
        assert checkpoint.fine_tuned_model_checkpoint.endswith(
            f":ckpt-step-{checkpoint.step_number}"
        )

    await read_results(client, job, events)

    await try_model(client, job.fine_tuned_model)
    model = await done(client.models.retrieve(job.fine_tuned_model))
    assert (model.id, model.object) == (job.fine_tuned_model, "model")
    assert model.id in [found.id for found in await collect(client.models.list())]
    deleted = await done(client.models.delete(model.id))
    assert (deleted.id, deleted.deleted) == (model.id, True)
    with pytest.raises(openai.NotFoundError):
        await done(client.models.retrieve(model.id))


async def read_results(client: Client, job: Any, events: list[Any]) -> None:
    """The results file has what the events said of each step, training and validation."""
    (file_id,) = job.result_files
    file = await done(client.files.retrieve(file_id))
    results = await done(client.files.content(file_id))
    assert (file.purpose, file.bytes) == ("fine-tune-results", len(results.content))
    assert results.text.splitlines()[0] == CSV_HEADER
    rows = list(csv.DictReader(io.StringIO(results.text)))
    assert [int(row["step"]) for row in rows] == [*range(1, len(rows) + 1)]
    for column, same in (
        ("train_loss", "train_loss"),
        ("train_mean_token_accuracy", "train_accuracy"),
        ("valid_loss", "full_valid_loss"),
        ("valid_mean_token_accuracy", "full_valid_mean_token_accuracy"),
    ):
        told = {e.data["step"]: e.data[column] for e in events if e.data and column in e.data}
        assert told
        for name in (column, same):
            assert {int(row["step"]): float(row[name]) for row in rows if row[name]} == told


async def try_model(client: Client, model: str) -> None:
    """Completions and chat, whole and streamed."""
    prompt = {"model": model, "prompt": "Say", "max_tokens": 3, "temperature": 0}
    completion = await done(client.completions.create(**prompt))
    assert completion.choices[0].finish_reason in ("stop", "length")
    pieces = await collect(await done(client.completions.create(**prompt, stream=True)))
    assert "".join(piece.choices[0].text for piece in pieces) == completion.choices[0].text

    talk = {
        "model": model,
        "messages": [{"role": "user", "content": "Say the number 1."}],
        "max_tokens": 3,
        "temperature": 0,
    }
    chat = await done(client.chat.completions.create(**talk))
    assert chat.choices[0].message.role == "assistant"
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    options = {"include_usage": True}
    chunks = await collect(
        await done(client.chat.completions.create(**talk, stream=True, stream_options=options))
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == chat.choices[0].message.content
    assert chunks[-1].usage == chat.usage


async def test_a_base_answers_too(client: Client, stack: Stack) -> None:
    base = await done(client.models.retrieve(stack.base))
    assert base.id == stack.base
    await try_model(client, stack.base)


async def test_lists_of_jobs_page_themselves(client: Client, stack: Stack) -> None:
    training_file = (await upload(client)).id
    mark = {"mark": f"{type(client).__name__}-{time.time_ns()}"}
    made = [
        (await start(client, stack, training_file=training_file, metadata=mark)).id
        for _ in range(3)
    ]
    listed = [job.id for job in await collect(client.fine_tuning.jobs.list(limit=1))]
    assert listed[:3] == made[::-1]
    assert len(listed) == len(set(listed))
    marked = client.fine_tuning.jobs.list(extra_query={"metadata[mark]": mark["mark"]}, limit=2)
    assert [job.id for job in await collect(marked)] == made[::-1]
    for job_id in made:
        await stop(client, job_id)


async def test_pause_resume_cancel(client: Client, stack: Stack) -> None:
    long = {"hyperparameters": {"n_epochs": 10_000, "batch_size": "auto"}}
    made = await start(client, stack, method={"type": "supervised", "supervised": long})
    await wait_for(client, made.id, lambda status: status in ("queued", "running"))
    paused = await done(client.fine_tuning.jobs.pause(made.id))
    assert paused.status == "paused"
    assert (await done(client.fine_tuning.jobs.retrieve(made.id))).status == "paused"
    resumed = await done(client.fine_tuning.jobs.resume(made.id))
    assert resumed.status in ("queued", "running")
    cancelled = await done(client.fine_tuning.jobs.cancel(made.id))
    assert cancelled.status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="is cancelled") as refused:
        await done(client.fine_tuning.jobs.cancel(made.id))
    assert refused.value.code == "illegal_transition"


async def test_hyperparameters_in_their_old_place(client: Client, stack: Stack) -> None:
    old = {"n_epochs": 1, "batch_size": 2, "learning_rate_multiplier": 0.5}
    file_id = (await upload(client)).id
    create = client.fine_tuning.jobs.create
    made = await done(create(model=stack.base, training_file=file_id, hyperparameters=old))
    shown = made.hyperparameters
    assert (shown.n_epochs, shown.batch_size, shown.learning_rate_multiplier) == (1, 2, 0.5)
    await stop(client, made.id)


async def test_errors_reach_the_caller(client: Client, stack: Stack) -> None:
    with pytest.raises(openai.BadRequestError, match="did you mean 'rank'") as misspelt:
        await start(client, stack, extra_body={"adapter": {"type": "lora", "rnak": 4}})
    assert misspelt.value.param == "adapter.rnak"
    assert misspelt.value.request_id
    with pytest.raises(openai.NotFoundError, match="file-missing"):
        await start(client, stack, training_file="file-missing")
    with pytest.raises(openai.NotFoundError):
        await done(client.fine_tuning.jobs.retrieve("ftjob-missing"))
    stranger = client.with_options(api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError):
        await collect(stranger.models.list())
