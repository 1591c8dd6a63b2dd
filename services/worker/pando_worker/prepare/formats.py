"""The formats of training data, and which one a file is in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pando_worker.prepare.examples import Chat, Completion, Example, Message, Text
from pando_worker.prepare.fields import BadField, optional_text, parse_messages, text

Record = Mapping[str, Any]


def _chat(record: Record) -> Example:
    return parse_messages(record["messages"], "messages", record.get("tools"))


def _sharegpt(record: Record) -> Example:
    chat = parse_messages(record["conversations"], "conversations", record.get("tools"))
    system = optional_text(record, "system")
    if system and chat.messages[0].role != "system":
        return Chat((Message("system", system), *chat.messages), chat.tools)
    return chat


def _completion(record: Record) -> Example:
    return Completion(text(record, "prompt"), text(record, "completion"))


def _alpaca(record: Record) -> Example:
    instruction, given = text(record, "instruction"), optional_text(record, "input")
    system = optional_text(record, "system")
    question = f"{instruction}\n\n{given}" if given else instruction
    turns = (Message("user", question), Message("assistant", text(record, "output")))
    return Chat((Message("system", system), *turns) if system else turns)


def _text(record: Record) -> Example:
    return Text(text(record, "text"))


@dataclass(frozen=True, slots=True)
class Format:
    """A format: the keys that tell it, and how a record in it becomes an example.

    `parse` raises BadField.
    """

    name: str
    keys: frozenset[str]
    parse: Callable[[Record], Example]


FORMATS = (
    Format("chat", frozenset({"messages"}), _chat),
    Format("sharegpt", frozenset({"conversations"}), _sharegpt),
    Format("completion", frozenset({"prompt", "completion"}), _completion),
    Format("alpaca", frozenset({"instruction", "output"}), _alpaca),
    Format("text", frozenset({"text"}), _text),
)
#: Of a record in no known format; a line may hold millions.
_KEYS_NAMED = 10
_PREFERENCE_KEYS = frozenset({"chosen", "rejected", "preferred_output", "non_preferred_output"})


def detect(record: Record) -> Format:
    """The first of `FORMATS` whose keys `record` has.

    Raises:
        BadField: it has none's.
    """
    for known in FORMATS:
        if known.keys <= record.keys():
            return known
    if _PREFERENCE_KEYS & record.keys():
        raise BadField("preference pairs need method 'dpo'; this job trains on single answers")
    has = ", ".join(f"{key!r:.60}" for key in sorted(record)[:_KEYS_NAMED]) or "nothing"
    if len(record) > _KEYS_NAMED:
        has += f" and {len(record) - _KEYS_NAMED:,} more"
    wants = "; ".join(f"{known.name}: {', '.join(sorted(known.keys))}" for known in FORMATS)
    raise BadField(f"in no known format: it has {has} (the formats and their keys are {wants})")
