"""One data file to one token file, in a single pass that holds one line at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pando_shared.jobs import DatasetSummary
from pando_worker.prepare.encode import Encoded, Encoder
from pando_worker.prepare.fields import BadField
from pando_worker.prepare.formats import Format, detect
from pando_worker.prepare.lines import fault, read_records
from pando_worker.token_file import TokenFileWriter

logger = logging.getLogger(__name__)

#: Lines between two looks at whether the work is still wanted.
_LOOK_EVERY = 2000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sequence may be. Longer ones are cut or refused; ids must lie in the vocabulary."""

    max_length: int
    overlong: Literal["truncate", "refuse"]
    vocab_size: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished data set and the first line that had to be cut, if one had."""

    summary: DatasetSummary
    first_truncated: int | None


def prepare_file(
    stream: IO[bytes],
    encoder: Encoder,
    limits: Limits,
    folder: Path,
    still_wanted: Callable[[], None],
) -> Prepared:
    """Validate, encode and write every example of `stream` into a token file at `folder`.

    `still_wanted` is called now and then, and raises to stop the work.

    Raises:
        InvalidTrainingFile: the data breaks a rule; the message names the line.
    """
    tally = _Tally()
    reader = _Reader(encoder)
    with TokenFileWriter(folder) as writer:
        for number, record in read_records(stream):
            if number % _LOOK_EVERY == 0:
                still_wanted()
            whole = reader.encode(number, record)
            sequence = _fit(whole, limits, number)
            writer.append(sequence.tokens, sequence.targets)
            tally.add(sequence, number, cut=len(sequence.tokens) < len(whole.tokens))
    return tally.result(reader.format_name)


class _Reader:
    """Encodes records, all of the format that the first one turned out to be in."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._first: tuple[int, Format] | None = None

    @property
    def format_name(self) -> str:
        return self._first[1].name if self._first else ""

    def encode(self, number: int, record: dict[str, Any]) -> Encoded:
        """Raises InvalidTrainingFile, with the line's number, for whatever is wrong with it."""
        try:
            return self._encoder.encode(self._format(number, record).parse(record))
        except BadField as error:
            raise fault(number, str(error)) from error
        except Exception as error:
            # A template is a program of the model's author and may raise anything; the same line
            # would raise it again at every retry.
            logger.exception("cannot encode line %d", number)
            what = f"{type(error).__name__}: {error!s:.300}"
            raise fault(number, f"the model's tokenizer fails on it: {what}") from error

    def _format(self, number: int, record: dict[str, Any]) -> Format:
        found = detect(record)
        first_number, first = self._first = self._first or (number, found)
        if found is not first:
            raise BadField(
                f"a {found.name} record, but line {first_number:,} is {first.name}; "
                "a file holds one format"
            )
        return found


def _fit(whole: Encoded, limits: Limits, number: int) -> Encoded:
    """`whole`, cut to the limit if need be, with at least one target left."""
    length = len(whole.tokens)
    if length > limits.max_length and limits.overlong == "refuse":
        raise fault(
            number,
            f"{length:,} tokens, but at most {limits.max_length:,} are allowed; shorten it, raise "
            "max_seq_length or set overlong to 'truncate'",
        )
    fitting = whole.first(limits.max_length)
    if not any(fitting.targets):
        if any(whole.targets):
            raise fault(
                number,
                f"nothing to learn is left of its {length:,} tokens after cutting to "
                f"{limits.max_length:,}; shorten what comes before the answer",
            )
        raise fault(number, "nothing to learn in it: the text is empty or a single token")
    if max(fitting.tokens) >= limits.vocab_size:
        raise fault(
            number,
            f"token {max(fitting.tokens)} lies outside the model's vocabulary of "
            f"{limits.vocab_size:,}; the model's tokenizer does not fit its weights",
        )
    return fitting


class _Tally:
    """Adds up a `DatasetSummary`."""

    def __init__(self) -> None:
        self._examples = self._tokens = self._targets = self._longest = self._truncated = 0
        self._first_truncated: int | None = None
        self._histogram: list[int] = []

    def add(self, sequence: Encoded, number: int, cut: bool) -> None:
        length = len(sequence.tokens)
        self._examples += 1
        self._tokens += length
        self._targets += sum(sequence.targets)
        self._longest = max(self._longest, length)
        power = length.bit_length() - 1
        self._histogram += [0] * (power + 1 - len(self._histogram))
        self._histogram[power] += 1
        if cut:
            self._truncated += 1
            self._first_truncated = self._first_truncated or number

    def result(self, format_name: str) -> Prepared:
        summary = DatasetSummary(
            format=format_name,
            examples=self._examples,
            tokens=self._tokens,
            target_tokens=self._targets,
            longest=self._longest,
            truncated=self._truncated,
            histogram=tuple(self._histogram),
        )
        return Prepared(summary, self._first_truncated)
