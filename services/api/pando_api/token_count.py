"""How many tokens a data file holds, cheaply: the model's own tokenizer on the file's beginning.

Needs the folder's `tokenizer.json` and no torch. The text of every line is counted as it stands;
the chat template's own tokens and truncation are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal

from tokenizers import Tokenizer

from pando_shared.errors import InvalidTrainingFile
from pando_shared.settings import MIB

#: A file up to this size is counted whole; of a longer one, this much stands for the rest.
SAMPLE_BYTES = 1 * MIB
#: Where a model folder has no tokenizer.json: common for English and byte-pair vocabularies.
BYTES_PER_TOKEN = 4.0
#: Keys whose values steer the reader and are not text.
_NOT_TEXT = frozenset({"role", "from", "weight", "id"})

Basis = Literal["counted", "sampled", "bytes"]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """`basis`: every line counted, the first `SAMPLE_BYTES` scaled up, or bytes divided by 4."""

    examples: int
    tokens: int
    basis: Basis


def count_tokens(stream: IO[bytes], model_path: str) -> TokenCount:
    """Reads `stream` to its end, a chunk at a time.

    Raises:
        InvalidTrainingFile: a line of the part that is counted is not a JSON object, or no line is.
    """
    head = stream.read(SAMPLE_BYTES)
    size, newlines, last = len(head), head.count(b"\n"), head[-1:]
    while chunk := stream.read(MIB):
        size, newlines, last = size + len(chunk), newlines + chunk.count(b"\n"), chunk[-1:]
    whole = size == len(head)
    # The last line of a longer file's head is cut somewhere.
    lines = head.split(b"\n") if whole else head.split(b"\n")[:-1]
    texts = [list(_texts(_parsed(line, at))) for at, line in enumerate(lines, 1) if line.strip()]
    if not texts:
        raise InvalidTrainingFile("the file holds no example", param="training_file")
    examples = len(texts) if whole else newlines + (last != b"\n")
    tokenizer = _tokenizer(model_path)
    if tokenizer is None:
        return TokenCount(examples, round(size / BYTES_PER_TOKEN), "bytes")
    encodings = tokenizer.encode_batch_fast(
        [text for example in texts for text in example], add_special_tokens=False
    )
    tokens = sum(len(encoding.ids) for encoding in encodings) + len(texts)
    if whole:
        return TokenCount(examples, tokens, "counted")
    counted_bytes = sum(len(line) + 1 for line in lines)
    return TokenCount(examples, round(tokens * size / counted_bytes), "sampled")


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidTrainingFile(
            f"line {number} is not JSON: {error}", param="training_file"
        ) from error
    if not isinstance(value, dict):
        raise InvalidTrainingFile(
            f"line {number} is not a JSON object but {type(value).__name__}", param="training_file"
        )
    return value


def _texts(value: Any) -> Iterator[str]:
    """Every text of an example, whatever its format."""
    match value:
        case str():
            # A lone surrogate is legal JSON and no text that a tokenizer takes.
            yield value.encode("utf-8", "replace").decode("utf-8")
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for key, item in value.items():
                if key not in _NOT_TEXT:
                    yield from _texts(item)


@lru_cache(maxsize=8)
def _tokenizer(model_path: str) -> Tokenizer | None:
    file = Path(model_path) / "tokenizer.json"
    return Tokenizer.from_file(str(file)) if file.is_file() else None
