"""Jobs that no worker had room for, and so whoever asks for as much or more."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from pando_scheduler.draft import Draft
from pando_scheduler.picture import JobView
from pando_scheduler.placement import has_no_place

#: Of one kind of job so many are remembered.
_KEPT = 12
_Wants: TypeAlias = tuple[float, ...]


@dataclass(slots=True)
class Misses:
    """What has been asked for in vain in this plan, where nothing has come free since.

    What a job asks for are its time and, of each kind of device, its share of tokens and its
    memory. Less of each may fit where more does not; as much or more never does.
    """

    _asked: dict[Hashable, list[_Wants]] = field(default_factory=dict)

    def covers(self, draft: Draft, job: JobView) -> bool:
        """Whether a job that has been missed asked for no more than this one in any respect."""
        missed = self._asked.get(_kind(draft, job))
        if not missed:
            return False
        wants = _wants(draft, job)
        return any(all(map(_not_more, less, wants)) for less in missed)

    def add(self, draft: Draft, job: JobView) -> None:
        wants = _wants(draft, job)
        missed = self._asked.setdefault(_kind(draft, job), [])
        missed[:] = [more for more in missed if not all(map(_not_more, wants, more))][-_KEPT:]
        missed.append(wants)


def _not_more(one: float, other: float) -> bool:
    return one <= other


def _kind(draft: Draft, job: JobView) -> Hashable:
    apart = draft.policy.tenant(job.tenant).limit is not None or has_no_place(draft, job.tenant)
    return job.base_model, job.rank, job.alone, job.avoids, job.tenant if apart else None


def _wants(draft: Draft, job: JobView) -> _Wants:
    return (job.seconds_left, *draft.cluster.takes.of(job))
