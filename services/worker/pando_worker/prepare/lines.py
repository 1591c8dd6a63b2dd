"""Reading JSONL: one line at a time, however large the file, with the number of a line at fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from pando_shared.errors import InvalidTrainingFile

CHUNK_BYTES = 1 << 20
#: A longer "line" means that the file is not JSONL, and must not fill the memory.
MAX_LINE_BYTES = 16 << 20

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def fault(number: int, what: str) -> InvalidTrainingFile:
    """An error about line `number`, counted from 1."""
    return InvalidTrainingFile(f"line {number:,}: {what}")


def read_records(stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line number and JSON object of every line that is not blank.

    Raises:
        InvalidTrainingFile: not UTF-8, not JSONL, or no line at all.
    """
    empty = True
    for number, line in enumerate(_split(stream), start=1):
        if number == 1:
            if line.startswith(_UTF16_MARKS):
                raise fault(1, "the file is UTF-16; save it as UTF-8")
            line = line.removeprefix(_UTF8_MARK)
        if line.strip():
            empty = False
            yield number, _parse(number, line)
    if empty:
        raise InvalidTrainingFile("the file is empty: it needs one JSON object on each line")


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """The stream's lines without their line feeds."""
    rest, number = b"", 1
    while chunk := stream.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        number += len(lines)
        if len(rest) > MAX_LINE_BYTES:
            raise fault(number, f"longer than {MAX_LINE_BYTES >> 20} MiB; is this a JSONL file?")
    if rest:
        yield rest


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise fault(
            number, f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1}; save it as UTF-8"
        ) from error
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise fault(
            number, f"not a JSON object: {what} at character {error.pos + 1}{_hint(text)}"
        ) from error
    except RecursionError as error:
        raise fault(number, "not readable as JSON: lists or objects nested too deeply") from error
    except ValueError as error:
        raise fault(number, "not readable as JSON: a number has thousands of digits") from error
    if not isinstance(record, dict):
        raise fault(number, f"must be a JSON object, got {_kind(record)}{_hint(text)}")
    return record


def _hint(text: str) -> str:
    start = text.strip()
    if start.startswith("["):
        return "; a JSONL file has one object on each line, and no list around them"
    if start in ("{", "{}"):
        return "; a JSONL file has each object whole on one line"
    return ""


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "null")
