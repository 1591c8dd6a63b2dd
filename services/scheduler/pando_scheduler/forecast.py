"""Where every job stands, why it waits, when it starts and ends: what is told to whoever asks.

The first times that were told are kept as promises, by which forecasts are judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from pando_scheduler.cluster import Cluster
from pando_scheduler.draft import Draft
from pando_scheduler.explain import Explainer
from pando_scheduler.seat_times import seat_times
from pando_shared.forecasts import Forecast

#: A time has changed if it has moved by more than this, and than this share of its distance. The
#: end of a job that waits hangs on many others, and is told less exactly.
_MOVED_SECONDS = 10.0
_MOVED_SHARE = 0.05
_MOVED_SHARE_WAITING = 0.25


def forecast(cluster: Cluster, now: float, before: Mapping[str, Forecast]) -> list[Forecast]:
    """Of all jobs that wait, in the order in which they are placed, then of all that train.

    `before` are the forecasts that were told last, by job id. A job that is held back has no
    position; one that no worker could train, or that is about to leave its worker, no times.
    """
    return list(_forecasts(cluster, now, before))


def changed(new: Iterable[Forecast], before: Mapping[str, Forecast]) -> list[Forecast]:
    """Those that say something else than what was told before, small shifts of a time aside."""
    return [found for found in new if _differs(found, before.get(found.job_id))]


def _forecasts(cluster: Cluster, now: float, before: Mapping[str, Forecast]) -> Iterator[Forecast]:
    draft, explainer = Draft(cluster, now), Explainer(cluster, now)
    starved = cluster.waiting.starved(now - cluster.policy.starvation_seconds)
    line = list(cluster.waiting.in_order(draft.levels(), starved))
    able = [job for job in line if explainer.could_start(job)]
    starts, ends = seat_times(draft, able)
    position = 0
    for job in line:
        place = None
        if job.held is None:
            position += 1
            place = position
        starts_at, finishes_at = _finite(starts.get(job.id)), _finite(ends.get(job.id))
        reason = explainer.reason(job, place, starts_at)
        promises = _promises(before.get(job.id), starts_at, finishes_at)
        yield Forecast(job.id, now, place, reason, starts_at, finishes_at, *promises)
    for job in cluster.placed():
        ends_at = _finite(ends.get(job.id))
        why = None if job.running else explainer.reason(job, None, None)
        promises = _promises(before.get(job.id), None, ends_at)
        yield Forecast(job.id, now, None, why, None, ends_at, *promises)


def _finite(time: float | None) -> float | None:
    return time if time is not None and math.isfinite(time) else None


def _promises(
    before: Forecast | None, starts_at: float | None, finishes_at: float | None
) -> tuple[float | None, float | None]:
    """The first start and the first end that were told."""
    if before is None:
        return starts_at, finishes_at
    return (
        starts_at if before.promised_start is None else before.promised_start,
        finishes_at if before.promised_finish is None else before.promised_finish,
    )


def _differs(found: Forecast, before: Forecast | None) -> bool:
    if before is None:
        return True
    if found.reason != before.reason or _stands_elsewhere(found.position, before.position):
        return True
    if (found.promised_start, found.promised_finish) != (
        before.promised_start,
        before.promised_finish,
    ):
        return True
    share = _MOVED_SHARE if found.position is None else _MOVED_SHARE_WAITING
    return _moved(found.starts_at, before.starts_at, found.made_at, _MOVED_SHARE) or _moved(
        found.finishes_at, before.finishes_at, found.made_at, share
    )


def _stands_elsewhere(new: int | None, old: int | None) -> bool:
    """Far down a long queue a place more or less is no news."""
    if new is None or old is None:
        return new is not old
    return abs(new - old) > _MOVED_SHARE * new


def _moved(new: float | None, old: float | None, now: float, share: float) -> bool:
    if new is None or old is None:
        return new is not old
    return abs(new - old) > max(_MOVED_SECONDS, share * (new - now))
