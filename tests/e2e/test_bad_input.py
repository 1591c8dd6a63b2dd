"""Bad input gets a clear error, by the stock client and by the command, and costs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from local_stack import LocalStack
from stack_jobs import ENDED, StackJobs

pytestmark = pytest.mark.e2e

GOOD = '{"prompt": "What is a bee?", "completion": "A small one with wings."}\n'
LONG = GOOD.replace("small one", "small one, a small one" * 400)


@dataclass(frozen=True)
class BadJob:
    """A job that is refused at once: knobs for the client, the same for the command, and words
    that the message must have."""

    knobs: dict[str, Any]
    options: tuple[str, ...]
    says: tuple[str, ...]
    param: str | None
    model: str = "tiny"
    status: type[openai.APIStatusError] = field(default=openai.BadRequestError)


LORA = {"type": "lora"}
REFUSED = {
    "unknown model": BadJob({}, (), ("no base model 'llama'", "tiny, twin"), "model", "llama"),
    "unknown target modules": BadJob(
        {"adapter": LORA | {"target_modules": ["q_proj", "query"]}},
        ("--target-modules", "q_proj,query"),
        ("'query'", "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj", "all-linear"),
        "adapter.target_modules",
    ),
    "rank 0": BadJob(
        {"adapter": LORA | {"rank": 0}},
        ("--rank", "0"),
        ("rank must be in 1..1024, got 0",),
        "adapter.rank",
    ),
    "negative learning rate": BadJob(
        {"learning_rate": -0.1},
        ("--learning-rate", "-0.1"),
        ("learning_rate must be a positive number, got -0.1",),
        "learning_rate",
    ),
    "too long for the model": BadJob(
        {"max_seq_length": 4096},
        ("--max-seq-length", "4096"),
        ("4096", "512 positions"),
        "max_seq_length",
    ),
    "can never fit": BadJob(
        {"adapter": {"type": "meft", "num_keys": 1 << 20}},
        ("--adapter", "meft", "--num-keys", str(1 << 20)),
        ("GiB) of memory with headroom", "the largest worker", "4294967296 bytes (4.00 GiB)"),
        "adapter",
    ),
    "missing file": BadJob(
        {"training_file": "file-0123456789"},
        ("file-0123456789",),
        ("no file 'file-0123456789'",),
        "training_file",
        status=openai.NotFoundError,
    ),
}

MISSPELT = {
    "rnak": {"adapter": LORA | {"rnak": 8}},
    "lerning_rate": {"lerning_rate": 1e-3},
    "n_epoch": {"hyperparameters": {"n_epoch": 3}},
}

#: What is in the file, and what its error says.
UNREADABLE: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "prose": (b"Once upon a time\n", ("line 1: not a JSON object",)),
    "one JSON list": (
        json.dumps([json.loads(GOOD)], indent=1).encode(),
        ("line 1", "one object on each line, and no list around them"),
    ),
    "UTF-16": (GOOD.encode("utf-16"), ("line 1: the file is UTF-16; save it as UTF-8",)),
    "Latin-1": (
        (GOOD * 2 + GOOD.replace("bee", "bée")).encode("latin-1"),
        ("line 3: not UTF-8: byte 0xe9", "save it as UTF-8"),
    ),
    "nothing but blank lines": (b"\n \n\n", ("the file is empty",)),
    "line 4,711": ((GOOD * 4710 + GOOD[:-3] + "\n" + GOOD * 9).encode(), ("line 4,711: ",)),
    "another format halfway": ((GOOD + '{"question": 1}\n').encode(), ("line 2: ",)),
}


@pytest.fixture(scope="module", autouse=True)
def bystander(jobs: StackJobs) -> Iterator[None]:
    """A job that trains all the while, and must not notice."""
    job_id = jobs.start("tiny", n_epochs=10_000)
    jobs.wait_for_step(job_id, 1)
    yield
    jobs.wait_for_step(job_id, jobs.step(job_id) + 1)
    begun = ("Training started", "Training resumed")
    assert sum(message.startswith(begun) for message in jobs.messages(job_id)) == 1
    jobs.client.fine_tuning.jobs.cancel(job_id)


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_a_job_that_cannot_be_is_refused(quick: LocalStack, jobs: StackJobs, bad: BadJob) -> None:
    with pytest.raises(bad.status) as caught:
        jobs.start(bad.model, **bad.knobs)
    assert caught.value.param == bad.param
    assert all(words in caught.value.message for words in bad.says), caught.value.message

    file = () if "training_file" in bad.knobs else (jobs.file_id,)
    done = quick.pando("submit", *file, "--model", bad.model, *bad.options, "--json")
    assert done.code == 1
    assert done.json["error"]["param"] == bad.param
    assert all(words in done.json["error"]["message"] for words in bad.says), done.out


@pytest.mark.parametrize("knob", MISSPELT)
def test_a_misspelt_knob_is_named_with_the_right_one(jobs: StackJobs, knob: str) -> None:
    right = {"rnak": "rank", "lerning_rate": "learning_rate", "n_epoch": "n_epochs"}[knob]
    with pytest.raises(openai.BadRequestError) as caught:
        jobs.start("tiny", **MISSPELT[knob])
    assert f"'{knob}'" in caught.value.message
    assert f"'{right}'" in caught.value.message


def test_a_misspelt_option_is_named_with_the_right_one(quick: LocalStack, jobs: StackJobs) -> None:
    done = quick.pando("submit", jobs.file_id, "--model", "tiny", "--rnak", "8")
    assert done.code == 2
    assert "--rnak" in done.err
    assert "--rank" in done.err


def test_a_file_that_cannot_be_read_says_where(
    quick: LocalStack, jobs: StackJobs, tmp_path: Path
) -> None:
    paths = {name: tmp_path / f"{name}.jsonl" for name in UNREADABLE}
    for name, path in paths.items():
        path.write_bytes(UNREADABLE[name][0])
    made = {name: jobs.start("tiny", training_file=jobs.upload(paths[name])) for name in paths}
    for name, job_id in made.items():
        jobs.wait(job_id, lambda job: job.status == "failed")
        error = jobs.get(job_id).error
        assert error is not None
        assert (error.code, error.param) == ("invalid_training_file", "training_file"), name
        assert all(words in error.message for words in UNREADABLE[name][1]), error.message
        assert jobs.messages(job_id)[-1] == f"Failed: {error.message}"

    done = quick.pando("submit", str(paths["line 4,711"]), "--model", "tiny", "--wait", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "invalid_training_file")
    assert "line 4,711: " in done.json["error"]["message"]


def test_a_sequence_that_is_too_long_is_cut_or_refused(
    quick: LocalStack, jobs: StackJobs, tmp_path: Path
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(GOOD + LONG + GOOD)
    file_id = jobs.upload(path)
    cut = jobs.start("tiny", training_file=file_id, max_steps=1)
    refused = jobs.start("tiny", training_file=file_id, overlong="refuse")
    jobs.succeed(cut)
    events = jobs.client.fine_tuning.jobs.list_events(cut)
    (warning,) = [event.message for event in events if event.level == "warn"]
    assert "1 of 3 examples" in warning
    assert "cut to 512 tokens (the first on line 2)" in warning

    error = jobs.wait(refused, lambda job: job.status == "failed").error
    assert error is not None
    assert error.code == "invalid_training_file"
    assert "line 2: " in error.message
    assert "512" in error.message
    done = quick.pando(
        "submit", file_id, "--model", "tiny", "--overlong", "refuse", "--wait", "--json"
    )
    assert (done.code, done.json["error"]["message"].split(": ", 1)[1]) == (1, error.message)


def test_uploads_that_are_refused(quick: LocalStack, jobs: StackJobs, tmp_path: Path) -> None:
    def refusal(name: str, content: bytes) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as caught:
            jobs.client.files.create(file=(name, content), purpose="fine-tune")
        return caught.value

    before = [file.id for file in jobs.client.files.list()]
    empty = refusal("empty.jsonl", b"")
    assert (empty.status_code, empty.param) == (400, "file")
    assert "'empty.jsonl' is empty" in empty.message
    for name in ("../../escape.jsonl", "/etc/escape.jsonl", "..\\escape.jsonl"):
        path = refusal(name, GOOD.encode())
        assert path.status_code == 400
        assert "plain name without a path" in path.message
    oversize = refusal("large.jsonl", GOOD.encode() * 99_999)
    assert oversize.status_code == 413
    assert "larger than the 4194304 bytes (4 MiB) accepted" in oversize.message
    assert [file.id for file in jobs.client.files.list()] == before
    assert not list(quick.home.rglob("*escape*"))

    for name, content, says in (("empty", "", "is empty"), ("large", GOOD * 99_999, "4 MiB")):
        (tmp_path / f"{name}.jsonl").write_text(content)
        done = quick.pando("submit", str(tmp_path / f"{name}.jsonl"), "--model", "tiny", "--json")
        assert done.code == 1
        assert says in done.json["error"]["message"]


def test_anothers_file_does_not_exist(quick: LocalStack, jobs: StackJobs) -> None:
    key = quick.pando("keys", "create", "--tenant", "globex", "--json").json["key"]
    client = quick.client(key)
    with pytest.raises(openai.NotFoundError) as caught:
        client.fine_tuning.jobs.create(model="tiny", training_file=jobs.file_id)
    assert f"no file {jobs.file_id!r}" in caught.value.message
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(jobs.file_id)
    done = quick.pando("submit", jobs.file_id, "--model", "tiny", "--json", PANDO_API_KEY=key)
    assert done.code == 1
    assert f"no file {jobs.file_id!r}" in done.json["error"]["message"]


def test_what_has_ended_cannot_be_cancelled(quick: LocalStack, jobs: StackJobs) -> None:
    job_id = jobs.start("tiny")
    assert jobs.client.fine_tuning.jobs.cancel(job_id).status in ENDED
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        jobs.client.fine_tuning.jobs.cancel(job_id)
    done = quick.pando("cancel", job_id, "--json")
    assert done.code == 1
    assert "is cancelled" in done.json["error"]["message"]
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        jobs.client.fine_tuning.jobs.resume(job_id)
