"""Domain values to JSON and back. pydantic reads the dataclasses' own annotations."""

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(cls: type[T]) -> TypeAdapter[T]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def encode(value: Any) -> bytes:
    """JSON of a domain dataclass."""
    return _adapter(type(value)).dump_json(value)


def decode(cls: type[T], text: str | bytes) -> T:
    """The domain dataclass that `encode` wrote.

    Raises:
        pydantic.ValidationError: the text is not one.
    """
    return _adapter(cls).validate_json(text)


def decoded_or(cls: type[T], text: str | bytes | None, default: T) -> T:
    """What `encode` wrote; `default` where there is nothing, or what another version wrote in a
    form that is not understood."""
    if text is None:
        return default
    try:
        return decode(cls, text)
    except ValidationError:
        return default
