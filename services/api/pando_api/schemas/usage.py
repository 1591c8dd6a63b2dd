"""Tokens that a sample read and wrote."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel

from pando_shared.workers import SampleChunk


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, chunks: Iterable[SampleChunk]) -> Self:
        chunks = list(chunks)
        prompt = max((chunk.prompt_tokens for chunk in chunks), default=0)
        completion = sum(chunk.tokens for chunk in chunks)
        return cls(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
        )
