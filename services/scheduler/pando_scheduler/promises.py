"""How far off what was promised to a job was: what is observed when it starts, and when it ends.

Errors are seconds: above 0 it came later than promised. None: nothing was promised.
"""

from __future__ import annotations

from pando_shared.forecasts import Forecast


def start_error(forecast: Forecast | None, started_at: float) -> float | None:
    """Of the first start that was told, when the job comes to its first worker."""
    if forecast is None or forecast.promised_start is None:
        return None
    return started_at - forecast.promised_start


def finish_error(forecast: Forecast | None, finished_at: float) -> float | None:
    """Of the first end that was told, when the job has succeeded."""
    if forecast is None or forecast.promised_finish is None:
        return None
    return finished_at - forecast.promised_finish
