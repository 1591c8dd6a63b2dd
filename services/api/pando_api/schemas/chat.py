"""Chat completions on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from pando_api.schemas.sampling import SamplingKnobs
from pando_api.schemas.strict import StrictModel
from pando_api.schemas.usage import Usage


class TextPart(StrictModel):
    type: Literal["text"]
    text: str


class Message(StrictModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    refusal: None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)

    @property
    def template_role(self) -> str:
        """Chat templates know no "developer", OpenAI's newer word for the system."""
        return "system" if self.role == "developer" else self.role


class ChatCreate(SamplingKnobs):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    metadata: dict[str, str] | None = None
    store: bool | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: Any = None
    top_logprobs: int | None = None

    @classmethod
    def off_values(cls) -> dict[str, Any]:
        return {
            **super().off_values(),
            "tools": [],
            "tool_choice": "none",
            "response_format": {"type": "text"},
            "top_logprobs": 0,
            "store": False,
        }

    @property
    def token_limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 256


class ChatMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int = 0
    message: ChatMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(BaseModel):
    index: int = 0
    delta: ChatDelta
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: None = None


class ChatChunk(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
