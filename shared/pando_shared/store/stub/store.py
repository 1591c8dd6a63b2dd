"""`StubStore`, put together from its parts."""

from __future__ import annotations

import threading

from pando_shared.clock import Clock, SystemClock
from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job
from pando_shared.store.stub.jobs import StubJobs
from pando_shared.store.stub.knowledge import StubKnowledge
from pando_shared.store.stub.leadership import StubLeadership
from pando_shared.store.stub.records import StubRecords
from pando_shared.store.stub.samples import StubSamples
from pando_shared.store.stub.signals import StubSignals
from pando_shared.store.stub.uploads import StubUploads
from pando_shared.store.stub.webhooks import StubWebhooks
from pando_shared.store.stub.workers import StubWorkers
from pando_shared.store.values import CHANGES_KEPT


class StubStore(StubJobs, StubUploads, StubWorkers, StubSamples, StubKnowledge, StubLeadership):
    """`Store` under one lock. What lies in it is frozen, so values are handed out as they are."""

    def __init__(self, clock: Clock | None = None, *, changes_kept: int = CHANGES_KEPT):
        lock, clock = threading.RLock(), clock or SystemClock()
        StubSignals.__init__(self, lock)
        StubRecords.__init__(self, lock, clock)
        StubWebhooks.__init__(self, lock)
        StubJobs.__init__(self, lock, clock, changes_kept)
        StubUploads.__init__(self, lock, clock)
        StubWorkers.__init__(self, lock)
        StubSamples.__init__(self, lock, clock)
        StubKnowledge.__init__(self, lock)
        StubLeadership.__init__(self, lock, clock)

    def foreseen_job(self, job_id: str) -> tuple[Job, Forecast | None]:
        with self._lock:
            return self.get_job(job_id), self._forecasts.get(job_id)
