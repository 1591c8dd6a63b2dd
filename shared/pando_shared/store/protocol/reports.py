"""What workers tell of rounds that are over."""

from __future__ import annotations

from typing import Protocol

from pando_shared.reports import RoundReport


class ReportStore(Protocol):
    """The part of `Store` that knows reports of rounds."""

    def push_report(self, report: RoundReport) -> None:
        """Tell of a round that is over. Wakes nobody; the oldest beyond `REPORTS_KEPT` are lost."""
        ...

    def take_reports(self, limit: int = 1000) -> list[RoundReport]:
        """Remove and return the oldest reports, in the order they came; one that cannot be read is
        only removed."""
        ...
