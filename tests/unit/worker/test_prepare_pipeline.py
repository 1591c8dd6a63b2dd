from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from factories import make_worker
from log_lines import json_log
from opentelemetry.trace import StatusCode
from predicted_bytes import predict_peak_bytes
from prometheus_client import CollectorRegistry
from recorded_spans import CLIENTS_TRACE, CLIENTS_TRACEPARENT, recording, trace_of, traceparent_of

from pando_shared import layout, lifecycle
from pando_shared.adapters import LoraConfig
from pando_shared.base_format import BaseFormat
from pando_shared.calibration import Calibration, calibration_key
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.clock import FakeClock
from pando_shared.codec import decode, encode
from pando_shared.errors import NotFound
from pando_shared.fleet import predict_on
from pando_shared.jobs import Job, JobSpec, JobState
from pando_shared.memory import resident_bytes
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.tracing import continuing
from pando_shared.training import TrainingConfig
from pando_worker.prepare import PrepareContext, PrepareMetrics, prepare_job
from pando_worker.prepare.metrics import Outcome
from pando_worker.token_file import TokenFile
from pando_worker.tokenizer import DEFAULT_CHAT_TEMPLATE

POSITIONS = 64
BASE = BaseModel(
    name="tiny",
    path="tiny",
    hidden_size=64,
    intermediate_size=128,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    vocab_size=300,
    max_positions=POSITIONS,
    weight_bytes=400_000,
    parameters=100_000,
    linears=(Linear("q_proj", 64, 64, 2), Linear("down_proj", 128, 64, 2)),
    tied=True,
)
Submit = Callable[..., Job]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def context(
    store: Store,
    storage: Storage,
    clock: FakeClock,
    byte_tokenizer: Any,
    registry: CollectorRegistry,
) -> PrepareContext:
    tokenizer = copy.deepcopy(byte_tokenizer)
    tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    return PrepareContext(
        store=store,
        storage=storage,
        clock=clock,
        catalogue={"tiny": BASE},
        tokenizer_of=lambda base: tokenizer,
        settings=Settings(token_budget=256, dtype="float32"),
        metrics=PrepareMetrics(registry),
    )


@pytest.fixture
def submit(context: PrepareContext) -> Submit:
    def submit(train: bytes, valid: bytes | None = None, **changes: Any) -> Job:
        context.storage.write(layout.file_content("file-train"), train)
        if valid is not None:
            context.storage.write(layout.file_content("file-valid"), valid)
        spec = JobSpec("acme", "tiny", "file-train", LoraConfig(rank=4))
        spec = replace(spec, validation_file=None if valid is None else "file-valid", **changes)
        job = Job("ftjob-1", spec, created_at=context.clock.now())
        return lifecycle.submit(context.store, context.storage, job)

    return submit


def text_lines(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def token_file(context: PrepareContext, split: str) -> TokenFile:
    folder = context.storage.local_path(layout.tokens("ftjob-1", split))
    assert folder is not None
    return TokenFile.open(folder)


def messages(context: PrepareContext, level: str) -> list[str]:
    return [e.message for e in context.store.events("ftjob-1") if e.level == level]


def test_good_data_queues_the_job(
    context: PrepareContext, submit: Submit, clock: FakeClock
) -> None:
    submit(text_lines("a", "bbb", "cc"), valid=text_lines("dddd"))
    clock.advance(5)

    prepare_job("ftjob-1", context)

    job = context.store.get_job("ftjob-1")
    assert job.state is JobState.QUEUED
    assert job.queued_at == clock.now()
    found = job.training_data
    assert found is not None
    # Each text has an end token; its first token is none to predict. Lengths 2, 4, 3.
    assert (found.format, found.examples, found.tokens, found.target_tokens) == ("text", 3, 9, 6)
    assert (found.longest, found.truncated, found.histogram) == (4, 0, (0, 2, 1))
    assert job.validation_data is not None
    assert job.validation_data.tokens == 5
    assert token_file(context, "train").lengths().tolist() == [2, 4, 3]
    assert token_file(context, "valid").lengths().tolist() == [5]
    assert job.training is not None
    assert (job.training.batch_size, job.training.n_epochs) == (1, 10)
    assert job.progress.total_steps == 30
    assert job.predicted_peak_bytes == predict_peak_bytes(
        BASE, [LoraConfig(rank=4)], 256, BaseFormat(), "cpu", resident_bytes(BASE, BaseFormat())
    )
    assert job.predicted_host_bytes == 0
    assert decode(Job, context.storage.read(layout.job_record("ftjob-1"))) == job
    assert messages(context, "warn") == []
    assert "Training file: 3 text examples, 9 tokens (6 to learn)" in messages(context, "info")[0]


def test_what_was_learnt_is_in_the_prediction(context: PrepareContext, submit: Submit) -> None:
    """How much jobs differ is not: that is the scheduler's to add while a job is not measured."""
    learnt = Calibration(lora=3.0, sigma=0.5)
    context.store.put_learnt(calibration_key("tiny", "cpu"), encode(learnt).decode())
    submit(text_lines("a"))
    prepare_job("ftjob-1", context)
    resident = resident_bytes(BASE, BaseFormat())
    one, three = (
        predict_peak_bytes(BASE, [LoraConfig(rank=4)] * n, 256, BaseFormat(), "cpu", resident)
        for n in (1, 3)
    )
    assert context.store.get_job("ftjob-1").predicted_peak_bytes == three > one


def test_it_is_the_operators_headroom_that_is_kept_free(
    context: PrepareContext, submit: Submit, clock: FakeClock
) -> None:
    worker = make_worker(heartbeat_at=clock.now(), token_budget=16384, budget_bytes=1 << 36)
    adapter = LoraConfig(rank=4)
    relaxed = predict_on(worker, BASE, [adapter]).device_bytes
    context.store.put_worker(replace(worker, budget_bytes=round(relaxed * 1.2)))
    [worker] = context.store.list_workers()
    submit(text_lines("a"))
    prepare_job("ftjob-1", replace(context, settings=Settings(memory_headroom=0.5)))
    strained = predict_on(worker, BASE, [adapter], headroom=0.5).device_bytes
    assert context.store.get_job("ftjob-1").predicted_peak_bytes == strained
    assert strained < predict_on(worker, BASE, [adapter], headroom=0.1).device_bytes


def test_a_second_delivery_changes_nothing(context: PrepareContext, submit: Submit) -> None:
    submit(text_lines("abc"))
    prepare_job("ftjob-1", context)
    before = context.store.get_job("ftjob-1"), context.store.events("ftjob-1")
    context.storage.delete(layout.file_content("file-train"))

    prepare_job("ftjob-1", context)

    assert (context.store.get_job("ftjob-1"), context.store.events("ftjob-1")) == before


def test_interrupted_and_repeated(
    context: PrepareContext, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(text_lines("abc"))
    with monkeypatch.context() as patch:

        def crash(*args: object) -> None:
            raise OSError("disk full")

        patch.setattr(context.storage, "upload_folder", crash)
        with pytest.raises(OSError, match="disk full"):
            prepare_job("ftjob-1", context)
    assert context.store.get_job("ftjob-1").state is JobState.VALIDATING

    prepare_job("ftjob-1", context)

    assert context.store.get_job("ftjob-1").state is JobState.QUEUED
    assert len(token_file(context, "train")) == 1


def test_a_job_cancelled_meanwhile_stays_cancelled(context: PrepareContext, submit: Submit) -> None:
    submit(text_lines("abc"))
    load = context.tokenizer_of

    def cancel_then_load(base: BaseModel) -> Any:
        lifecycle.transition(
            context.store, context.storage, "ftjob-1", lambda job: job.to(JobState.CANCELLED)
        )
        return load(base)

    prepare_job("ftjob-1", replace(context, tokenizer_of=cancel_then_load))

    assert context.store.get_job("ftjob-1").state is JobState.CANCELLED
    assert not context.storage.exists(layout.tokens("ftjob-1", "train"))


def test_long_examples_are_cut_with_a_warning(context: PrepareContext, submit: Submit) -> None:
    submit(text_lines("short", "x" * 100, "y" * 200))

    prepare_job("ftjob-1", context)

    found = context.store.get_job("ftjob-1").training_data
    assert found is not None
    assert (found.longest, found.truncated) == (POSITIONS, 2)
    (warning,) = messages(context, "warn")
    assert "2 of 3 examples were too long and have been cut to 64 tokens (the first on line 2)" in (
        warning
    )


def test_the_models_context_bounds_what_may_be_asked(
    context: PrepareContext, submit: Submit
) -> None:
    submit(text_lines("x" * 100), training=TrainingConfig(max_seq_length=1000))
    prepare_job("ftjob-1", context)
    assert "max_seq_length 1,000 exceeds the model's 64 positions" in messages(context, "warn")[0]
    assert token_file(context, "train").lengths().tolist() == [POSITIONS]


CHAT = {"messages": [{"role": "user", "content": "q" * 80}, {"role": "assistant", "content": "a"}]}


@pytest.mark.parametrize(
    ("data", "training", "message"),
    [
        (b"", TrainingConfig(), "the file is empty"),
        (text_lines("a") + b"oops\n", TrainingConfig(), "line 2: not a JSON object"),
        (
            text_lines("a") + b'{"prompt": "a", "completion": "b"}',
            TrainingConfig(),
            "line 2: a completion record, but line 1 is text; a file holds one format",
        ),
        (
            text_lines("a", "x" * 100),
            TrainingConfig(overlong="refuse"),
            "line 2: 101 tokens, but at most 64 are allowed",
        ),
        (
            text_lines("a", "x" * 20),
            TrainingConfig(overlong="refuse", max_seq_length=10),
            "line 2: 21 tokens, but at most 10 are allowed",
        ),
        (json.dumps(CHAT).encode(), TrainingConfig(), "line 1: nothing to learn is left of its"),
        (text_lines("a", ""), TrainingConfig(), "line 2: nothing to learn in it"),
    ],
)
def test_bad_data_fails_the_job_and_names_the_line(
    context: PrepareContext, submit: Submit, data: bytes, training: TrainingConfig, message: str
) -> None:
    submit(data, training=training)

    prepare_job("ftjob-1", context)

    job = context.store.get_job("ftjob-1")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert message in job.error.message
    assert job.finished_at is not None
    assert message in messages(context, "error")[0]
    assert not context.storage.exists(layout.tokens("ftjob-1", "train"))


def test_a_bad_validation_file_is_named(context: PrepareContext, submit: Submit) -> None:
    submit(text_lines("fine"), valid=b"{")
    prepare_job("ftjob-1", context)
    error = context.store.get_job("ftjob-1").error
    assert error is not None
    assert error.param == "validation_file"


def test_a_file_deleted_meanwhile(context: PrepareContext, submit: Submit) -> None:
    submit(text_lines("fine"))
    context.storage.delete(layout.file_content("file-train"))
    prepare_job("ftjob-1", context)
    error = context.store.get_job("ftjob-1").error
    assert error is not None
    assert (error.code, error.message) == ("not_found", "training_file file-train is gone")


def test_an_unknown_base_model_lists_those_there_are(
    context: PrepareContext, submit: Submit
) -> None:
    submit(text_lines("fine"), model="huge")
    prepare_job("ftjob-1", context)
    error = context.store.get_job("ftjob-1").error
    assert error is not None
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "there are: tiny" in error.message


def test_a_tokenizer_larger_than_its_model_is_caught(
    context: PrepareContext, submit: Submit
) -> None:
    submit(text_lines("zz"))
    small = replace(BASE, vocab_size=20)
    prepare_job("ftjob-1", replace(context, catalogue={"tiny": small}))
    error = context.store.get_job("ftjob-1").error
    assert error is not None
    assert "lies outside the model's vocabulary of 20" in error.message


def test_no_such_job(context: PrepareContext) -> None:
    with pytest.raises(NotFound):
        prepare_job("ftjob-none", context)


def test_memory_does_not_grow_with_the_file(context: PrepareContext, submit: Submit) -> None:
    lines = 3_000  # Held at once, their tokens alone would take 5 MB.
    submit(text_lines("x" * 50) * lines)
    tracemalloc.start()
    prepare_job("ftjob-1", context)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(token_file(context, "train")) == lines
    assert peak < 4 << 20


def test_what_is_logged_names_the_job_and_its_tenant(
    context: PrepareContext, submit: Submit
) -> None:
    def away(base: BaseModel) -> None:
        raise OSError("the disk is away")

    submit(text_lines("a"))
    with json_log("prepare", "pando_worker") as lines:
        with pytest.raises(OSError, match="the disk is away"):
            prepare_job("ftjob-1", replace(context, tokenizer_of=away))
        (line,) = lines()
    assert (line["job_id"], line["tenant"], line["level"]) == ("ftjob-1", "acme", "WARNING")


def test_bad_data_is_logged_on_one_line(context: PrepareContext, submit: Submit) -> None:
    submit(b'{"text": "a"}\n{"te\\nxt": 1}\n')
    with json_log("prepare", "pando_worker") as lines:
        prepare_job("ftjob-1", context)
        (line,) = lines()
    error = context.store.get_job("ftjob-1").error
    assert error is not None
    assert line["message"] == f"job ftjob-1 fails: {error.message}"


def test_preparing_is_in_the_trace_of_its_message_else_of_its_job(
    context: PrepareContext, submit: Submit
) -> None:
    job = submit(text_lines("secret words"))
    context.store.update_job(job.id, lambda job: replace(job, traceparent=traceparent_of(1)))
    with recording() as spans, continuing(CLIENTS_TRACEPARENT):
        prepare_job(job.id, context)
        prepare_job(job.id, context)  # there is nothing to do any more
    prepared = spans.one("prepare job")
    assert trace_of(prepared) == CLIENTS_TRACE
    assert prepared.attributes == {"job_id": job.id, "tenant": "acme"}


def test_bad_data_is_on_the_span_without_its_words(context: PrepareContext, submit: Submit) -> None:
    job = submit(b'{"secret": "words"}\n')
    context.store.update_job(job.id, lambda job: replace(job, traceparent=traceparent_of(1)))
    with recording() as spans:
        prepare_job(job.id, context)
    failed = spans.one("prepare job")
    assert trace_of(failed) == f"{1:032x}"
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "invalid_training_file"
    assert "secret" not in failed.to_json()


def outcomes(registry: CollectorRegistry) -> dict[str, float]:
    """How many preparations came to what, of those there were."""
    counts = {
        outcome.value: registry.get_sample_value(
            "pando_prepare_duration_seconds_count", {"outcome": outcome.value}
        )
        for outcome in Outcome
    }
    assert None not in counts.values()  # each is there, at 0, before the first
    return {outcome: count for outcome, count in counts.items() if count}


def test_a_preparation_is_measured_from_its_jobs_submission(
    context: PrepareContext, submit: Submit, clock: FakeClock, registry: CollectorRegistry
) -> None:
    load = context.tokenizer_of

    def load_slowly(base: BaseModel) -> Any:
        clock.advance(2.0)
        return load(base)

    assert outcomes(registry) == {}
    submit(text_lines("abc"))
    clock.advance(5.0)
    prepare_job("ftjob-1", replace(context, tokenizer_of=load_slowly))
    prepare_job("ftjob-1", context)  # of which there is nothing to measure
    assert outcomes(registry) == {"prepared": 1}
    seconds = "pando_prepare_duration_seconds_sum"
    assert registry.get_sample_value(seconds, {"outcome": "prepared"}) == 2.0
    assert registry.get_sample_value("pando_prepare_wait_seconds_sum") == 5.0


def test_a_wait_ends_once_however_often_preparing_is_postponed(
    context: PrepareContext, submit: Submit, clock: FakeClock, registry: CollectorRegistry
) -> None:
    def away(base: BaseModel) -> None:
        raise OSError("the disk is away")

    submit(text_lines("abc"))
    for _ in range(2):
        clock.advance(1.0)
        with pytest.raises(OSError, match="away"):
            prepare_job("ftjob-1", replace(context, tokenizer_of=away))
    clock.advance(1.0)
    prepare_job("ftjob-1", context)
    assert outcomes(registry) == {"prepared": 1, "postponed": 2}
    assert registry.get_sample_value("pando_prepare_wait_seconds_count") == 1
    assert registry.get_sample_value("pando_prepare_wait_seconds_sum") == 3.0


def test_bad_data_counts_as_failed_and_a_cancelled_job_as_gone(
    context: PrepareContext, submit: Submit, registry: CollectorRegistry
) -> None:
    def cancel(base: BaseModel) -> Any:
        lifecycle.transition(
            context.store, context.storage, "ftjob-1", lambda job: job.to(JobState.CANCELLED)
        )
        return context.tokenizer_of(base)

    submit(text_lines("abc"))
    prepare_job("ftjob-1", replace(context, tokenizer_of=cancel))
    assert outcomes(registry) == {"gone": 1}
    context.store.update_job("ftjob-1", lambda job: replace(job, state=JobState.VALIDATING))
    context.storage.write(layout.file_content("file-train"), b"no json")
    prepare_job("ftjob-1", context)
    assert outcomes(registry) == {"gone": 1, "failed": 1}
