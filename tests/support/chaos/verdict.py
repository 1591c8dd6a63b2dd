"""Whether all is as if nothing had been broken."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from chaos.observer import ENDED, Seen
from chaos.twins import TOLERANCE, difference, trained
from chaos.workload import RECIPES, Submitted, Tenants

_COMPLETED = "The job has successfully completed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Each tuple holds what is wrong, a sentence a job; all are to be empty.

    `same_bits` counts the adapters that equal their twin bit for bit; `largest_difference` is
    |adapter - twin| / |twin| of the one that is farthest from its own.
    """

    jobs: int
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    stuck: tuple[str, ...]
    bad_results: tuple[str, ...]
    unlike_twin: tuple[str, ...]
    same_bits: int
    largest_difference: float

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.stuck or self.bad_results or self.unlike_twin)


def judge(
    tenants: Tenants,
    submitted: Mapping[str, Submitted],
    seen: Mapping[str, Seen],
    twins: Mapping[str, Submitted],
) -> Verdict:
    """After the last fault, and once everything that can end has ended."""
    lost, twice, stuck, results, unlike = [], [], [], [], []
    same_bits, largest = 0, 0.0
    storage = tenants.cluster.storage
    for job in submitted.values():
        found = seen.get(job.id)
        if found is None:
            lost.append(f"{job.id} ({job.recipe}) is not there")
            continue
        if found.status not in ENDED:
            stuck.append(f"{job.id} ({job.recipe}) is {found.status} at step {found.step}")
            continue
        if found.status != "succeeded":
            lost.append(f"{job.id} ({job.recipe}) {found.status}: {found.error}")
            continue
        completions = _completions(tenants, job)
        if len(found.ends) > 1 or found.revived or completions > 1:
            twice.append(f"{job.id}: {completions} completions, seen to end {sorted(found.ends)}")
        if (wrong := _wrong_results(tenants, job)) is not None:
            results.append(f"{job.id}: {wrong}")
        apart = difference(trained(storage, job.id), trained(storage, twins[job.recipe].id))
        same_bits += apart == 0.0
        largest = max(largest, apart)
        if not apart <= TOLERANCE:
            unlike.append(f"{job.id} ({job.recipe}) differs by {apart:.1e}")
    return Verdict(
        len(submitted),
        tuple(lost),
        tuple(twice),
        tuple(stuck),
        tuple(results),
        tuple(unlike),
        same_bits,
        largest,
    )


def wrong_steps(content: str, steps: int) -> str | None:
    """What is wrong with a results file, if anything. It may lack steps, those of which only a
    Redis knew that then lost everything; it must not have one twice, or end before the job did."""
    rows = [int(row["step"]) for row in csv.DictReader(io.StringIO(content))]
    repeated = sorted(step for step, count in Counter(rows).items() if count > 1)
    if repeated:
        return f"steps {repeated} stand in its results more than once"
    if rows[-1:] != [steps]:
        return f"its results end at step {rows[-1:]}, and it has {steps}"
    return None


def _wrong_results(tenants: Tenants, job: Submitted) -> str | None:
    record = _get(tenants, job, "").json()
    (file_id,) = record["result_files"]
    answer = httpx.get(
        f"{tenants.cluster.url}/v1/files/{file_id}/content",
        headers=tenants.headers(job.tenant),
        timeout=30.0,
    )
    answer.raise_for_status()
    return wrong_steps(answer.text, RECIPES[job.recipe]["max_steps"])


def _completions(tenants: Tenants, job: Submitted) -> int:
    events: list[dict[str, Any]] = _get(tenants, job, "/events?limit=100").json()["data"]
    return sum(event["message"] == _COMPLETED for event in events)


def _get(tenants: Tenants, job: Submitted, path: str) -> httpx.Response:
    answer = httpx.get(
        f"{tenants.cluster.url}/v1/fine_tuning/jobs/{job.id}{path}",
        headers=tenants.headers(job.tenant),
        timeout=30.0,
    )
    answer.raise_for_status()
    return answer
