"""Whether anybody prepares jobs' data, and gets on with it: no job starts before that."""

from __future__ import annotations

from collections.abc import Sequence

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.rendering import human_seconds
from pando_shared.jobs import Job, JobState
from pando_shared.store import JobStore
from pando_shared.store.messages import make_celery
from pando_shared.store.presence import who_prepares

NAME = "prepare"
#: Seconds in which the processes have to answer; all of them are waited for.
ANSWER_SECONDS = 1.5
#: Half a GiB of data takes minutes to prepare; hardly any file takes longer than this.
LONG_SECONDS = 600.0


def preparing_in_store(store: JobStore, redis_url: str, now: float) -> Finding:
    """`now`: Redis's time. Raises Unavailable if Redis does not answer."""
    with make_celery(redis_url) as celery:
        names = who_prepares(celery, ANSWER_SECONDS)
    return preparing(names, store.jobs_in(JobState.VALIDATING), now)


def preparing(names: Sequence[str], waiting: Sequence[Job], now: float) -> Finding:
    """`names`: the processes that answer; `waiting`: jobs whose data is not prepared yet."""
    look = "prepare.log in the home's logs says why it ended"
    wait = f"{len(waiting)} jobs wait for it" if len(waiting) != 1 else "1 job waits for it"
    if not names:
        return fail(
            NAME,
            f"no process that prepares data answers, so that no new job starts; {wait}",
            f"Start one (`pando up`, or `pando-worker --prepare`); {look}.",
        )
    found = f"{', '.join(names)} answers" if len(names) == 1 else f"{len(names)} processes answer"
    if not waiting:
        return ok(NAME, f"{found}; no job waits")
    oldest = min(waiting, key=lambda job: job.created_at)
    age = max(0.0, now - oldest.created_at)
    if age > LONG_SECONDS:
        return warn(
            NAME,
            f"{found}; {wait}, {oldest.id} for {human_seconds(age)}",
            "See its log for that job; `pando-worker --prepare` starts a second one, which takes "
            "half of the work.",
        )
    return ok(NAME, f"{found}; {wait}")


def unknown(why: str) -> Finding:
    return skipped(NAME, why)
