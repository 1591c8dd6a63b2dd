"""Whatever lines a file holds, it is prepared or refused with the number of a line."""

from __future__ import annotations

import copy
import io
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pando_shared.errors import InvalidTrainingFile
from pando_worker.prepare.dataset import Limits, Prepared, prepare_file
from pando_worker.prepare.encode import Encoder
from pando_worker.tokenizer import DEFAULT_CHAT_TEMPLATE

MIB = 1 << 20
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
#: One good record of each format, and of each thing that a record may hold.
RECORDS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "2?"}, {"role": "assistant", "content": "4"}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "2?"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
            {"role": "tool", "content": "4", "tool_call_id": "c1"},
            {"role": "assistant", "content": "4", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
    {"conversations": [{"from": "human", "value": "2?"}, {"from": "gpt", "value": "4"}]},
    {"prompt": "2+2=", "completion": "4"},
    {"instruction": "Add.", "input": "2 2", "output": "4"},
    {"text": "Once upon a time"},
)
#: Bytes that readers of JSON and text have stumbled over.
BYTES = st.sampled_from(
    [
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\\ud83d",
        b"\\u0000",
        "e\u0301\u200b\u2028\x85".encode(),
        b"\n",
        b"\r",
        b"9" * 5000,
        b"1e999",
        b"NaN",
        b"-Infinity",
        b"[" * 100_000,
        b'{"a":' * 2000,
        b"null",
        b'"',
        b"}",
        b",",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from(["user", "assistant", "system", "tool", "<s>", "<|im_end|>", "{{ 1/0 }}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.just("role"), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in `value` with each of its keys or indices."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [at for key in keys for at in _places(value[key])]


@st.composite
def wrong_records(draw: st.DrawFn) -> bytes:
    """A good record with up to three of its values replaced or missing."""
    record = copy.deepcopy(draw(st.sampled_from(RECORDS)))
    for _ in range(draw(st.integers(0, 3))):
        places = _places(record)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            container[key] = draw(VALUES)
        else:
            del container[key]
    return json.dumps(record).encode()


@st.composite
def wrong_bytes(draw: st.DrawFn) -> bytes:
    """A good record's bytes, with something put in the place of a few of them."""
    line = json.dumps(draw(st.sampled_from(RECORDS))).encode()
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(len(line), start + 20)))
    return line[:start] + draw(BYTES | st.binary(max_size=6)) + line[end:]


@pytest.fixture(scope="module")
def encoder(byte_tokenizer: Any) -> Encoder:
    tokenizer = copy.deepcopy(byte_tokenizer)
    tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    return Encoder(tokenizer)


def prepare(data: bytes, encoder: Encoder) -> Prepared:
    with tempfile.TemporaryDirectory() as folder:
        limits = Limits(max_length=256, overlong="truncate", vocab_size=300)
        return prepare_file(io.BytesIO(data), encoder, limits, Path(folder) / "t", lambda: None)


@pytest.mark.parametrize("record", RECORDS)
def test_the_records_to_be_spoilt_are_good(record: dict[str, Any], encoder: Encoder) -> None:
    assert prepare(json.dumps(record).encode(), encoder).summary.examples == 1


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(wrong_records() | wrong_bytes(), min_size=1, max_size=3))
@example(lines=[json.dumps({"key" * 10_000: 1}).encode()])
@example(lines=[json.dumps(dict.fromkeys(map(str, range(1000)))).encode()])
@example(lines=[json.dumps({"role": [[]] * 50_000, "messages": [[[]] * 50_000]}).encode()])
def test_any_lines(lines: list[bytes], encoder: Encoder) -> None:
    data = b"\n".join(lines)
    try:
        summary = prepare(data, encoder).summary
    except InvalidTrainingFile as error:
        check_refusal(error.message, data.count(b"\n") + 1)
    else:
        assert summary.examples >= 1
        assert summary.target_tokens >= 1


def check_refusal(message: str, lines: int) -> None:
    """It names a line of the file, and is short enough to show."""
    at_fault, _, _ = message.partition(":")
    if at_fault != "the file is empty":
        assert at_fault.startswith("line ")
        assert 1 <= int(at_fault.removeprefix("line ").replace(",", "")) <= lines
    assert len(message) < 2000
    assert message.encode("utf-8")


def test_a_line_without_end_is_refused_in_bounded_memory(encoder: Encoder) -> None:
    data = b'{"text": "' + b"x" * (64 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidTrainingFile, match="line 1: longer than 16 MiB"):
            prepare(data, encoder)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_a_million_blank_lines_cost_no_memory(encoder: Encoder) -> None:
    data = b"\n" * 1_000_000 + b'{"text": "Once"}'
    tracemalloc.start()
    try:
        assert prepare(data, encoder).summary.examples == 1
        assert tracemalloc.get_traced_memory()[1] < 128 * MIB
    finally:
        tracemalloc.stop()
