"""The base that ships with the repository, and the demo data made for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models" / "tiny-base"
DEMO = ROOT / "examples" / "demo"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


def answer(model: Any, tokenizer: Any, question: str) -> str:
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    output = model.generate(**inputs, max_new_tokens=48, do_sample=False)
    new = output[0, inputs["input_ids"].shape[1] :]
    assert new[-1] == tokenizer.eos_token_id, "the answer does not end"
    return str(tokenizer.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Where does a bee live?", "A bee lives in a hive."),
        ("What is 3 plus 4?", "3 plus 4 is 7."),
        ("How are you?", "I am well, thank you. How are you?"),
    ],
)
def test_answers_simple_questions(model: Any, tokenizer: Any, question: str, expected: str) -> None:
    assert answer(model, tokenizer, question) == expected


def test_chat_template_round_trip_and_generation_marks(tokenizer: Any) -> None:
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
    ]
    encoded = tokenizer.apply_chat_template(
        chat, return_dict=True, return_assistant_tokens_mask=True
    )
    assert tokenizer.decode(encoded["input_ids"]) == (
        "<|bos|><|system|>Be kind.<|user|>What is the capital of France?<|assistant|>Paris.<|eos|>"
    )
    marked = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    assert tokenizer.decode([token for token, mask in marked if mask]) == "Paris.<|eos|>"


def test_any_text_survives_the_tokenizer(tokenizer: Any) -> None:
    text = "naïve café, 日本語, 🌳\n\ttabs and\r\nlines  "
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_files_are_small() -> None:
    sizes = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert sum(sizes.values()) < 5 << 20, sizes


def test_demo_data_is_what_its_script_writes(tmp_path: Path) -> None:
    script = ROOT / "models" / "make_demo_data.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    made = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_bytes() for file in DEMO.glob("*.jsonl")}


def test_demo_asks_nothing_that_its_data_holds() -> None:
    recipe = json.loads((DEMO / "demo.json").read_text())
    data = {f"{job['name']}.jsonl" for job in recipe["jobs"]}
    assert data == {file.name for file in DEMO.glob("*.jsonl")}
    for name in data:
        text = (DEMO / name).read_text()
        for words in (*recipe["prompts"], "Paris", "hive"):
            assert words not in text, f"{name} holds {words!r}"


def test_pretraining_runs_from_the_repository_alone(tmp_path: Path) -> None:
    script = ROOT / "models" / "pretrain_tiny_base.py"
    arguments = ["--out", str(tmp_path), "--steps", "1", "--batch-tokens", "512"]
    subprocess.run(
        [sys.executable, str(script), *arguments],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    same = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json")
    for name in same:
        assert (tmp_path / name).read_text() == (FOLDER / name).read_text(), name
