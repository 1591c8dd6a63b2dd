"""The feed of changed jobs in memory."""

from __future__ import annotations

import itertools

#: Cursors of one store mean nothing to another, as those of one Redis to one that lost its data.
_starts = itertools.count(1 << 40, 1 << 40)


class ChangeFeed:
    """Numbers the writes of jobs, and remembers the `kept` jobs that were written last."""

    def __init__(self, kept: int):
        self._kept = kept
        self._forgotten = self.cursor = next(_starts)
        # In the order of their numbers: a job that is written again moves to the end.
        self._numbers: dict[str, int] = {}

    def mark(self, job_id: str) -> None:
        self._numbers.pop(job_id, None)
        self.cursor += 1
        self._numbers[job_id] = self.cursor
        if len(self._numbers) > self._kept:
            self._forgotten = self._numbers.pop(next(iter(self._numbers)))

    def since(self, cursor: int | None) -> list[str] | None:
        """Ids of the jobs written since. None: not known, everything may have changed."""
        if cursor is None or not self._forgotten <= cursor <= self.cursor:
            return None
        newer = itertools.takewhile(
            lambda job_id: self._numbers[job_id] > cursor, reversed(self._numbers)
        )
        return list(newer)
