"""What completions and chat completions have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

from pydantic import Field, model_validator

from pando_api.schemas.strict import StrictModel
from pando_shared.errors import InvalidRequest

#: Workers stop at the model's last position anyway.
_MANY_TOKENS = 1_000_000
StopText = Annotated[str, Field(min_length=1, max_length=256)]
StopTexts = Annotated[list[StopText], Field(max_length=4)]


class StreamOptions(StrictModel):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class SamplingKnobs(StrictModel):
    """Knobs that Pando has not are accepted at the value that means "off"."""

    model: str = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=_MANY_TOKENS)
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    top_p: float | None = Field(None, gt=0.0, le=1.0)
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63)
    stop: StopText | StopTexts | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | int | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name, off in cls.off_values().items():
                value = values.get(name)
                if value and value != off:
                    raise InvalidRequest(f"{name} is not supported, got {value!r}", param=name)
        return values

    @classmethod
    def off_values(cls) -> dict[str, Any]:
        """Parameters without effect here, with the value each may have beside null and zero."""
        return {
            "n": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "logit_bias": {},
            "logprobs": False,
        }

    @property
    @abstractmethod
    def token_limit(self) -> int:
        """Tokens to make at most, by whichever knob this endpoint has for it."""

    @property
    def stop_texts(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage
