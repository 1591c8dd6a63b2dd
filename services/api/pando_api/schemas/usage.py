"""Tokens that a sample read and wrote."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel

from pando_shared.workers import SampleChunk


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, last: SampleChunk) -> Self:
        """A chunk counts all tokens so far, so the last one has the sums."""
        return cls(
            prompt_tokens=last.prompt_tokens,
            completion_tokens=last.tokens,
            total_tokens=last.prompt_tokens + last.tokens,
        )
