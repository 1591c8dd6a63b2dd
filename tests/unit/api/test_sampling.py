"""Completions and chat, with a messenger that answers as a worker would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from api_calls import error_of
from factories import make_worker
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.testclient import TestClient

from pando_shared.clock import FakeClock
from pando_shared.codec import decode
from pando_shared.records import ModelRecord
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore
from pando_shared.workers import Round, SampleChunk, SampleRequest

HELLO = (
    SampleChunk("Hel", tokens=1, prompt_tokens=3),
    SampleChunk("lo", tokens=3, prompt_tokens=3),
    SampleChunk("", tokens=3, prompt_tokens=3, finish_reason="stop"),
)
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class AnsweringMessenger(StubMessenger):
    """Has the answer in the store before the API begins to wait for it."""

    store: StubStore = field(default_factory=StubStore)
    answer: Sequence[SampleChunk] = HELLO

    def sample(self, worker_id: str, request_json: str) -> None:
        StubMessenger.sample(self, worker_id, request_json)
        self.store.push_sample_chunks(self.last.id, self.answer)

    @property
    def last(self) -> SampleRequest:
        return decode(SampleRequest, self.samples[-1][1])


@pytest.fixture
def messenger(store: StubStore) -> AnsweringMessenger:
    return AnsweringMessenger(store=store)


@pytest.fixture
def worker(store: StubStore, clock: FakeClock) -> None:
    store.put_worker(make_worker("w1", base_model="tiny", heartbeat_at=clock.now()))


def events(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.usefixtures("worker")
def test_a_completion(client: TestClient, messenger: AnsweringMessenger) -> None:
    body = {"model": "tiny", "prompt": "Say", "temperature": 0, "stop": ["."], "seed": 3}
    answer = Completion.model_validate(client.post("/v1/completions", json=body).json())
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Hello", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    asked = messenger.last
    assert (asked.prompt, asked.messages, asked.adapter_path) == ("Say", (), None)
    assert (asked.max_tokens, asked.temperature, asked.seed, asked.stop) == (16, 0.0, 3, (".",))
    assert messenger.samples[0][0] == "w1"


@pytest.mark.usefixtures("worker")
def test_a_streamed_completion(client: TestClient) -> None:
    body = {"model": "tiny", "prompt": ["Say"], "stream": True}
    choices = [
        event["choices"][0] for event in events(client.post("/v1/completions", json=body).text)
    ]
    assert "".join(choice["text"] for choice in choices) == "Hello"
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


@pytest.mark.usefixtures("worker")
def test_a_chat(client: TestClient, messenger: AnsweringMessenger) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]},
        {"role": "assistant", "content": "ho", "refusal": None},
    ]
    body = {**CHAT, "messages": messages, "max_completion_tokens": 9}
    answer = client.post("/v1/chat/completions", json=body).json()
    parsed = ChatCompletion.model_validate(answer)
    assert parsed.choices[0].message.content == "Hello"
    assert messenger.last.messages == (("system", "Be brief."), ("user", "hi"), ("assistant", "ho"))
    assert (messenger.last.prompt, messenger.last.max_tokens) == (None, 9)


@pytest.mark.usefixtures("worker")
def test_a_streamed_chat_with_usage(client: TestClient) -> None:
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    chunks = [
        ChatCompletionChunk.model_validate(event)
        for event in events(client.post("/v1/chat/completions", json=body).text)
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 6


@pytest.mark.usefixtures("worker")
def test_an_adapter_is_sampled_on_its_base(
    client: TestClient, stranger: TestClient, store: StubStore, messenger: AnsweringMessenger
) -> None:
    name = "ft:tiny:acme::01234567"
    store.put_model(ModelRecord(name, "acme", "tiny", "ftjob-1", "lora", "jobs/1/export", 0.0))
    body = {"model": name, "prompt": "x"}
    assert client.post("/v1/completions", json=body).json()["model"] == name
    assert messenger.last.adapter_path == "jobs/1/export"
    error = error_of(stranger.post("/v1/completions", json=body), 404)
    assert error["code"] == "model_not_found"


def test_workers_with_the_base_come_before_idle_ones(
    client: TestClient, store: StubStore, messenger: AnsweringMessenger, clock: FakeClock
) -> None:
    def ask() -> str:
        assert (
            client.post("/v1/completions", json={"model": "tiny", "prompt": "x"}).status_code == 200
        )
        return messenger.samples[-1][0]

    idle = make_worker("idle", models=(), heartbeat_at=clock.now())
    store.put_worker(idle)
    assert ask() == "idle"
    for worker_id in ("loaded-a", "loaded-b"):
        store.put_worker(make_worker(worker_id, base_model="tiny", heartbeat_at=clock.now()))
    store.put_worker(make_worker("dead", base_model="tiny", heartbeat_at=clock.now() - 60))
    store.request_sample("loaded-a", "waiting")
    assert ask() == "loaded-b"


def test_no_worker_says_what_to_do(client: TestClient, store: StubStore, clock: FakeClock) -> None:
    body = {"model": "tiny", "prompt": "x"}
    assert "pando up" in error_of(client.post("/v1/completions", json=body), 503)["message"]
    store.put_worker(
        make_worker("busy", base_model="other", models=("tiny", "other"), heartbeat_at=clock.now())
    )
    store.plan_round(Round("r1", "busy", "busy-first", "other", (), 20.0, 0, clock.now()))
    error = error_of(client.post("/v1/completions", json=body), 503)
    assert "another base" in error["message"]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("stream", [False, True])
def test_silence_is_an_error_that_is_not_retried(
    client: TestClient, store: StubStore, messenger: AnsweringMessenger, stream: bool
) -> None:
    messenger.answer = ()
    answer = client.post("/v1/completions", json={"model": "tiny", "prompt": "x", "stream": stream})
    assert "GET /v1/workers" in error_of(answer, 503)["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert store.samples_waiting("w1") == 0


@pytest.mark.usefixtures("worker")
def test_a_workers_refusal_is_the_callers_error(
    client: TestClient, messenger: AnsweringMessenger
) -> None:
    messenger.answer = [SampleChunk("", finish_reason="error", error="the prompt is too long")]
    for stream in (False, True):
        answer = client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
        assert error_of(answer)["message"] == "the prompt is too long"


@pytest.mark.usefixtures("worker")
def test_a_refusal_in_mid_stream_ends_it(client: TestClient, messenger: AnsweringMessenger) -> None:
    messenger.answer = [HELLO[0], SampleChunk("", finish_reason="error", error="lost the adapter")]
    text = client.post("/v1/chat/completions", json={**CHAT, "stream": True}).text
    last = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")][-1]
    assert last["error"]["message"] == "lost the adapter"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "gpt-9"}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 2}, "n"),
        ({"logprobs": 1}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, None),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"temperatur": 1}, "temperatur"),
    ],
)
@pytest.mark.usefixtures("worker")
def test_bad_completions_are_named(
    client: TestClient, body: dict[str, Any], param: str | None
) -> None:
    status = 404 if param == "model" else 400
    body = {"model": "tiny", "prompt": "x", **body}
    error = error_of(client.post("/v1/completions", json=body), status)
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {"messages": [{"role": "user"}]},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
    ],
)
@pytest.mark.usefixtures("worker")
def test_bad_chats_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    error_of(client.post("/v1/chat/completions", json={**CHAT, **body}))


@pytest.mark.usefixtures("worker")
def test_knobs_without_effect_may_be_sent(client: TestClient) -> None:
    body = {**CHAT, "n": 1, "presence_penalty": 0, "user": "me", "tools": [], "logprobs": False}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
