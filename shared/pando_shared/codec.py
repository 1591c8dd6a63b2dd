"""Domain values to JSON and back. pydantic reads the dataclasses' own annotations."""

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def encode(value: Any) -> bytes:
    """JSON of a domain dataclass."""
    return _adapter(type(value)).dump_json(value)


def decode(cls: type[T], text: str | bytes) -> T:
    """The domain dataclass that `encode` wrote.

    Raises:
        pydantic.ValidationError: the text is not one.
    """
    result: T = _adapter(cls).validate_json(text)
    return result
