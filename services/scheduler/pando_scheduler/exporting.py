"""When the curves of jobs with integrations are written to other tools: as they end, and before.

A job that trains is exported after half a minute, and then whenever it has trained a twentieth
longer: should nobody take the messages, a job of a week leaves fewer than two hundred of them.
"""

from __future__ import annotations

from pando_scheduler.mirror import Mirror
from pando_shared.jobs import JobState
from pando_shared.store import Store
from pando_shared.store.messages import Messenger

#: The least between two exports of a job that trains.
EVERY_SECONDS = 30.0
#: A job that has trained for longer is exported when it has trained this share longer.
EVERY_SHARE = 0.05
_LOOK_SECONDS = 1.0


class Exporting:
    """Sends the messages. An export too many does no harm."""

    def __init__(self, store: Store, mirror: Mirror, messenger: Messenger):
        self._store, self._mirror, self._messenger = store, mirror, messenger
        self._looked_at = float("-inf")
        self._next_at: dict[str, float] = {}
        self._owed: list[str] = []

    def recall(self) -> None:
        """Owe the export of what ended while nobody led, or just before: of those the events are
        still in the store, as it is the leader that moves them to storage."""
        ended = self._store.get_jobs(self._store.ended_with_events())
        self._owed += [job.id for job in ended if job is not None and job.spec.integrations]

    def look(self, now: float) -> None:
        """Send what is due.

        Raises:
            Unavailable: the broker does not answer. What is owed is sent by a later look.
        """
        if 0 <= now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        self._owed += self._mirror.take_exportable()
        while self._owed:
            self._messenger.export(self._owed[-1])
            self._next_at.pop(self._owed.pop(), None)
        for job in self._mirror.live(JobState.RUNNING):
            if not job.spec.integrations:
                continue
            trained = now - (job.started_at or now)
            due = self._next_at.setdefault(job.id, now + EVERY_SECONDS)
            if now >= due:
                self._messenger.export(job.id)
                self._next_at[job.id] = now + max(EVERY_SECONDS, EVERY_SHARE * trained)
