"""When jobs are expected to run and to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job


class ForecastStore(Protocol):
    """The part of `Store` that knows forecasts."""

    def put_forecasts(self, forecasts: Iterable[Forecast]) -> None:
        """Replace the forecasts of these jobs."""
        ...

    def drop_forecasts(self, job_ids: Iterable[str]) -> None: ...

    def forecasts(self, job_ids: Sequence[str]) -> list[Forecast | None]: ...

    def all_forecasts(self) -> list[Forecast]:
        """Sorted by job id."""
        ...

    def foreseen_job(self, job_id: str) -> tuple[Job, Forecast | None]:
        """A job and its forecast, with one question to the store. Raises NotFound."""
        ...
