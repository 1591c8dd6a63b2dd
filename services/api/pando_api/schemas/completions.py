"""Text completions on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from pando_api.schemas.sampling import SamplingKnobs
from pando_api.schemas.usage import Usage


class CompletionCreate(SamplingKnobs):
    prompt: str | list[str] = Field(description="A text, or a list of one.")
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None

    @classmethod
    def off_values(cls) -> dict[str, Any]:
        return {**super().off_values(), "best_of": 1, "echo": False, "suffix": ""}

    @property
    def token_limit(self) -> int:
        return self.max_tokens or 16


class CompletionChoice(BaseModel):
    index: int = 0
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: None = None


class Completion(BaseModel):
    """A whole answer, or one piece of a streamed one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
