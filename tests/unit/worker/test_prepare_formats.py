from typing import Any

import pytest

from pando_worker.prepare.examples import Chat, Completion, Message, Text
from pando_worker.prepare.fields import BadField
from pando_worker.prepare.formats import detect

ASK, ANSWER = Message("user", "2+2?"), Message("assistant", "4")
TALK = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
TURNS = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]


@pytest.mark.parametrize(
    ("record", "name", "example"),
    [
        ({"messages": TALK}, "chat", Chat((ASK, ANSWER))),
        ({"messages": TALK, "text": "ignored"}, "chat", Chat((ASK, ANSWER))),
        ({"conversations": TURNS}, "sharegpt", Chat((ASK, ANSWER))),
        ({"conversations": TALK}, "sharegpt", Chat((ASK, ANSWER))),
        (
            {"conversations": TURNS, "system": "Be brief."},
            "sharegpt",
            Chat((Message("system", "Be brief."), ASK, ANSWER)),
        ),
        ({"prompt": "2+2=", "completion": "4"}, "completion", Completion("2+2=", "4")),
        ({"instruction": "2+2?", "output": "4"}, "alpaca", Chat((ASK, ANSWER))),
        ({"instruction": "2+2?", "input": "", "output": "4"}, "alpaca", Chat((ASK, ANSWER))),
        (
            {"instruction": "Add.", "input": "2 2", "output": "4"},
            "alpaca",
            Chat((Message("user", "Add.\n\n2 2"), ANSWER)),
        ),
        ({"text": "Once upon"}, "text", Text("Once upon")),
    ],
)
def test_detects_and_reads(record: dict[str, Any], name: str, example: object) -> None:
    found = detect(record)
    assert found.name == name
    assert found.parse(record) == example


def test_message_weights_and_text_parts() -> None:
    parts = [{"type": "text", "text": "2"}, {"type": "text", "text": "+2?"}]
    record = {
        "messages": [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "5", "weight": 0},
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "4", "weight": 1},
        ]
    }
    wrong = Message("assistant", "5", learned=False)
    assert detect(record).parse(record) == Chat((ASK, wrong, ASK, ANSWER))


def test_tool_calls_reach_the_template() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
    record = {"messages": [TALK[0], call, {"role": "tool", "content": "4", "tool_call_id": "c1"}]}
    example = detect(record).parse(record)
    assert isinstance(example, Chat)
    assert example.messages[1] == Message("assistant", "", extra={"tool_calls": [{"id": "c1"}]})
    assert example.messages[2].extra == {"tool_call_id": "c1"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": "?"}, "in no known format: it has 'question'"),
        ({}, "it has nothing"),
        ({"prompt": "x", "chosen": "a", "rejected": "b"}, "preference pairs need method 'dpo'"),
        ({"messages": []}, "'messages' must be a list of at least one message"),
        ({"messages": "hi"}, "'messages' must be a list"),
        ({"messages": ["hi"]}, r"messages\[0\] must be an object"),
        ({"messages": [TALK[0]]}, "no assistant message"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\].role must be one of"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "got 'robot'"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\] has no 'content'"),
        ({"messages": [{"role": "user", "content": 3}]}, r"\.content must be text, got 3"),
        ({"messages": [{"role": "user", "content": None}]}, r"\.content must be text, got None"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text parts only"),
        ({"messages": [{**TALK[1], "weight": 0}]}, "weight 0: nothing is left to learn"),
        ({"messages": [{**TALK[1], "weight": 0.5}]}, "weight must be 0 or 1, got 0.5"),
        ({"messages": [{**TALK[0], "weight": 1}]}, "only assistant messages can be learnt"),
        ({"messages": TALK, "tools": "calculator"}, "'tools' must be a list of objects"),
        ({"prompt": None, "completion": "x"}, "'prompt' must be text, got None"),
        ({"instruction": "x", "output": ["y"]}, "'output' must be text"),
        ({"text": "half \ud83d of it"}, "'text' holds half a surrogate pair at character 6"),
    ],
)
def test_says_what_is_wrong(record: dict[str, Any], message: str) -> None:
    with pytest.raises(BadField, match=message):
        detect(record).parse(record)
