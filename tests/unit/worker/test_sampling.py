"""Answering requests for text: pieces, stop strings, adapters, and errors that are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from worker_world import World

from pando_shared import layout
from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.codec import encode
from pando_shared.workers import SampleChunk, SampleRequest
from pando_worker import sampling
from pando_worker.sampling import run_sample

REQUEST = SampleRequest(
    id="s1",
    base_model="tiny",
    adapter_path=None,
    prompt="Once upon a time",
    messages=(),
    max_tokens=30,
    temperature=0.0,
    top_p=1.0,
    seed=None,
)


@pytest.fixture
def answer(world: World):
    """`answer(...)`: the chunks of a request that differs so."""

    def answer(**fields) -> list[SampleChunk]:
        request = replace(REQUEST, id=f"s{len(world.store._samples)}", **fields)
        world.store.request_sample("w1", request.id)
        run_sample(world.host, encode(request).decode())
        assert world.store.samples_waiting("w1") == 0
        return world.store.sample_chunks(request.id, 0)

    return answer


@pytest.fixture
def scripted(world: World, byte_tokenizer, monkeypatch):
    """`scripted(text)`: the model says exactly this, byte by byte."""

    def scripted(text: str) -> None:
        ids = byte_tokenizer.encode(text, add_special_tokens=False)

        def generate(base, layers, prompt, settings):
            yield from ids[: settings.max_tokens]

        monkeypatch.setattr(sampling, "generate", generate)

    return scripted


def text_of(chunks: list[SampleChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_the_last_piece_alone_says_why_it_ended(answer):
    chunks = answer()
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason in ("length", "stop")
    assert chunks[-1].prompt_tokens == len("Once upon a time") + 0
    assert chunks[-1].tokens <= 30


def test_greedy_answers_repeat(answer):
    assert text_of(answer()) == text_of(answer())


@pytest.mark.parametrize(
    "adapter",
    [LoraConfig(rank=4), PacaConfig(rank=4), MeftConfig(num_keys=32, top_k=4, num_experts=4)],
    ids=lambda config: config.type,
)
def test_an_adapter_answers_otherwise_and_leaves_the_base_as_it_was(world: World, answer, adapter):
    before = text_of(answer())
    job_id = world.submit(adapter, learning_rate=0.3, n_epochs=8)
    world.round(job_id)
    tuned = text_of(answer(adapter_path=layout.export(job_id)))
    assert tuned != before
    assert text_of(answer()) == before


def test_pieces_concatenate_to_the_whole(answer, scripted):
    story = "Ein süßer Bär 🐻 läuft, «schnell», durch 森林."
    scripted(story)
    chunks = answer(max_tokens=200)
    assert text_of(chunks) == story
    assert not any("\ufffd" in chunk.text for chunk in chunks)
    assert len(chunks) > 20
    assert chunks[-1].tokens == len(story.encode())


def test_length_is_told_from_stop(answer, scripted):
    scripted("four")
    assert answer(max_tokens=4)[-1].finish_reason == "length"
    assert answer(max_tokens=5)[-1].finish_reason == "stop"


def test_half_a_character_at_the_end_is_told_all_the_same(answer, scripted):
    scripted("ab🐻")
    chunks = answer(max_tokens=4)
    assert text_of(chunks).startswith("ab")
    assert chunks[-1].finish_reason == "length"


class TestStopStrings:
    @pytest.mark.parametrize(
        ("said", "stop", "expected"),
        [
            ("one two three", (" two",), "one"),
            ("one two three", ("three", "two"), "one "),
            ("one two three", ("four",), "one two three"),
            ("aaab", ("aab",), "a"),
            ("one\n\ntwo", ("\n\n",), "one"),
            ("one", ("one",), ""),
            ("xyxyz", ("xyz",), "xy"),
            ("abc", ("", "c"), "ab"),
            ("tail ab", ("abc",), "tail ab"),
        ],
    )
    def test_they_end_the_text_before_them(self, answer, scripted, said, stop, expected):
        scripted(said)
        chunks = answer(stop=stop)
        assert text_of(chunks) == expected
        assert chunks[-1].finish_reason == "stop"

    def test_no_piece_holds_the_beginning_of_one(self, answer, scripted):
        scripted("one STOP two")
        chunks = answer(stop=("STOP",))
        for chunk in chunks:
            assert not set("STOP") & set(chunk.text)

    def test_nothing_is_generated_beyond_them(self, answer, scripted):
        scripted("ab" * 50)
        assert answer(stop=("ba",), max_tokens=100)[-1].tokens == 3


class TestChats:
    def test_messages_are_rendered_by_the_template(self, answer, world, monkeypatch):
        prompts = []

        def generate(base, layers, prompt, settings):
            prompts.append(prompt)
            return iter(())

        monkeypatch.setattr(sampling, "generate", generate)
        answer(prompt=None, messages=(("system", "Be kind."), ("user", "Hello!")))
        tokenizer = sampling.load_tokenizer(world.models["tiny"])
        rendered = tokenizer.decode(prompts[0])
        assert "Be kind." in rendered
        assert "Hello!" in rendered
        assert rendered.endswith("### Assistant:\n")

    def test_a_template_that_refuses_says_so(self, answer, monkeypatch):
        loaded = sampling.load_tokenizer

        def strict(folder):
            tokenizer = loaded(folder)
            tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
            return tokenizer

        monkeypatch.setattr(sampling, "load_tokenizer", strict)
        (chunk,) = answer(prompt=None, messages=(("system", "Be kind."),))
        assert chunk.finish_reason == "error"
        assert chunk.error == "System role not supported"


class TestRefusals:
    def test_a_prompt_as_long_as_the_model(self, answer):
        (chunk,) = answer(prompt="x" * 128)
        assert chunk.finish_reason == "error"
        assert "128 tokens" in chunk.error
        assert "at most 128" in chunk.error

    def test_a_prompt_that_leaves_little_room_gets_little(self, answer, scripted):
        scripted("abcdef")
        chunks = answer(prompt="x" * 126)
        assert text_of(chunks) == "ab"
        assert chunks[-1].finish_reason == "length"

    def test_an_unknown_base(self, answer, world: World):
        assert answer()[-1].finish_reason != "error"
        (chunk,) = answer(base_model="nowhere")
        assert chunk.finish_reason == "error"
        assert "nowhere" in chunk.error
        assert world.host.worker.base_model == "tiny"

    def test_an_adapter_that_is_gone(self, answer):
        (chunk,) = answer(adapter_path="jobs/ftjob-gone/export")
        assert chunk.finish_reason == "error"
        assert chunk.error == "the adapter has been deleted"

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
    @pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"{}", None], ids=repr)
    def test_an_adapter_that_is_damaged(self, answer, world: World, name: str, content):
        job_id = world.submit(n_epochs=1)
        world.round(job_id)
        path = layout.export(job_id)
        file = f"{path}/{name}"
        if content is None:
            world.storage.delete(file)
        else:
            world.storage.write(file, content)
        (chunk,) = answer(adapter_path=path)
        assert chunk.error.startswith("the adapter's files cannot be read")
        assert job_id not in chunk.error

    def test_another_base_while_training(self, answer, world: World, base_folder):
        world.models["again"] = str(base_folder)
        job_id = world.submit(n_epochs=50)
        world.round(job_id, seconds=2)
        (chunk,) = answer(base_model="again")
        assert "training on tiny" in chunk.error
        assert world.resident() == {job_id}

    def test_another_base_while_idle(self, answer, world: World, base_folder):
        world.models["again"] = str(base_folder)
        answer()
        assert answer(base_model="again")[-1].finish_reason != "error"
        assert world.host.worker.base_model == "again"


def test_an_empty_prompt_starts_from_nothing(answer):
    assert answer(prompt="")[-1].finish_reason in ("length", "stop")


def test_sampling_while_jobs_rest_changes_nothing_they_learn(world: World, answer):
    straight, sampled = (world.submit(LoraConfig(rank=4, dropout=0.2)) for _ in range(2))
    world.round(straight)
    while world.job(sampled).fine_tuned_model is None:
        world.round(sampled, seconds=3)
        answer(temperature=1.0)
    assert world.exported(sampled) == world.exported(straight)
