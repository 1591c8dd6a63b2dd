"""What a store is given and gives back, beside records; how long and how much it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from pando_shared.jobs import Job
from pando_shared.records import CheckpointRecord, Event, ModelRecord

#: A request for a sample that is older counts no more: its message or its worker was lost.
SAMPLE_REQUEST_SECONDS = 300
#: How long a sample's text is kept after its last chunk.
SAMPLE_TEXT_SECONDS = 3600
#: How long an upload is remembered after its last change: far longer than it may take.
UPLOAD_RECORD_SECONDS = 24 * 3600
#: How long the key of a request that made something is known again.
IDEMPOTENCY_SECONDS = 24 * 3600
#: How many jobs the change feed remembers, those that changed last.
CHANGES_KEPT = 20_000
#: How many reports of rounds wait to be read; older ones are dropped.
REPORTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """What one update of a job writes, all of it or nothing."""

    job: Job
    events: tuple[Event, ...] = ()
    model: ModelRecord | None = None
    checkpoint: CheckpointRecord | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to keep, and the key by which the request that makes it is known again."""

    job: Job
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class JobChanges:
    """Jobs as they are now, and the cursor to ask from next time: one snapshot.

    With `whole`, `jobs` are all that have not ended or hold a lease, and what is not among them is
    to be forgotten. Else they are those written since the cursor, each once, also if ended since;
    `gone` are ids that were written since and have no record any more, sorted. Oldest first.
    """

    jobs: tuple[Job, ...]
    gone: tuple[str, ...]
    cursor: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Told:
    """How many events a job has had, wherever they are now, and whether it has ended."""

    events: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether a request was taken, and how many are left, in fractions."""

    taken: bool
    left: float
