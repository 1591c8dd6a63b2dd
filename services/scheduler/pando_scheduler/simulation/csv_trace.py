"""Traces as CSV files: rows by column, with errors that name file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pando_shared.errors import InvalidRequest


def read_rows(
    path: Path, columns: Sequence[str], what: str, param: str
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Every row below the header, with its line number. `what` is what the file should be.

    Raises:
        InvalidRequest: the file cannot be read, or lacks one of the columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [name for name in columns if name not in (rows.fieldnames or ())]
            if missing:
                raise InvalidRequest(
                    f"{path}: line 1 has no column {missing[0]}; {what} has "
                    f"{', '.join(columns[:-1])} and {columns[-1]}",
                    param=param,
                )
            for row in rows:
                yield rows.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(f"{path}: cannot be read: {error}", param=param) from error
