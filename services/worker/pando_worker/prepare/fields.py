"""Checking and reading the fields of one record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pando_worker.prepare.examples import Chat, Message

_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "function_call": "assistant",
    "observation": "tool",
}
_TEMPLATE_FIELDS = ("name", "tool_calls", "tool_call_id", "reasoning_content")


class BadField(ValueError):
    """What is wrong with a record; the caller knows its line number."""


def text(record: Mapping[str, Any], key: str) -> str:
    """A field that must be there and be text."""
    if key not in record:
        raise BadField(f"{key!r} is missing")
    return _checked(record[key], f"{key!r}")


def optional_text(record: Mapping[str, Any], key: str) -> str:
    """A field that may be missing or null, which both read as ''."""
    return "" if record.get(key) is None else text(record, key)


def parse_messages(value: Any, key: str, tools: Any = None) -> Chat:
    """A chat from OpenAI's messages (role, content) or ShareGPT's turns (from, value).

    Raises:
        BadField: no assistant turn, none to learn, an unknown role, content that is not text, ...
    """
    if not isinstance(value, list) or not value:
        raise BadField(f"{key!r} must be a list of at least one message")
    messages = tuple(_message(turn, f"{key}[{index}]") for index, turn in enumerate(value))
    answers = [message for message in messages if message.role == "assistant"]
    if not answers:
        raise BadField(f"{key!r} has no assistant message, so there is nothing to learn from it")
    if not any(answer.learned for answer in answers):
        raise BadField(f"every assistant message in {key!r} has weight 0: nothing is left to learn")
    if tools is not None and not (
        isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)
    ):
        raise BadField("'tools' must be a list of objects")
    return Chat(messages, tuple(tools or ()))


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise BadField(f"{where} must be an object with a role and content, got {turn!r:.60}")
    who, what = ("from", "value") if "from" in turn else ("role", "content")
    role = turn.get(who)
    if not isinstance(role, str) or role not in _ROLES:
        raise BadField(f"{where}.{who} must be one of {', '.join(_ROLES)}; got {role!r:.60}")
    extra = {name: turn[name] for name in _TEMPLATE_FIELDS if turn.get(name) is not None}
    if turn.get(what) is None and "tool_calls" in extra:
        content = ""
    else:
        content = _content(turn, what, where)
    return Message(_ROLES[role], content, _learned(turn, role, where), extra)


def _content(turn: Mapping[str, Any], what: str, where: str) -> str:
    """Content as a string, or as a list of OpenAI's text parts."""
    if what not in turn:
        raise BadField(f"{where} has no {what!r}")
    content = turn[what]
    if isinstance(content, list):
        parts = []
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text":
                raise BadField(f"{where}.{what} may hold text parts only, got {part!r:.60}")
            parts.append(_checked(part.get("text"), f"{where}.{what}"))
        return "".join(parts)
    return _checked(content, f"{where}.{what}")


def _learned(turn: Mapping[str, Any], role: str, where: str) -> bool:
    weight = turn.get("weight")
    if weight is None:
        return True
    if isinstance(weight, bool) or weight not in (0, 1):
        raise BadField(f"{where}.weight must be 0 or 1, got {weight!r:.60}")
    if _ROLES[role] != "assistant" and weight == 1:
        raise BadField(f"{where}.weight is 1, but only assistant messages can be learnt")
    return bool(weight)


def _checked(value: Any, where: str) -> str:
    """`value` if it is text that UTF-8 can hold; JSON can also spell lone surrogates."""
    if not isinstance(value, str):
        raise BadField(f"{where} must be text, got {value!r:.60}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadField(
            f"{where} holds half a surrogate pair at character {error.start + 1}"
        ) from error
    return value
