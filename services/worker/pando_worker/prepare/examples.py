"""One line of training data, whatever format it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat. `learned` is meant for assistant turns: whether it is a target.

    `extra` holds what only the chat template understands: tool calls and the like.
    """

    role: str
    content: str
    learned: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chat:
    """Learn the assistant's turns."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """Learn the completion, and to stop after it."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Text:
    """Learn everything."""

    text: str


Example = Chat | Completion | Text
