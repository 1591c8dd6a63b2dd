"""A thread that looks at all jobs through the API, as their tenants do, and remembers."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.workload import Tenants

ENDED = ("succeeded", "failed", "cancelled")
_LOOK_SECONDS = 0.3
_TIMEOUT_SECONDS = 3.0


@dataclass(slots=True)
class Seen:
    """One job's life as it was seen. `ends` are the distinct ends it was seen with: its status,
    when it ended, and its model; a job that ends twice has two."""

    status: str = ""
    step: int = 0
    worker: str | None = None
    ends: set[tuple[str, int | None, str | None]] = field(default_factory=set)
    error: str | None = None
    revived: bool = False
    #: When it was seen to have moved on: its data checked, a further step, its end. To be queued
    #: again, or placed again, is none of these.
    progress_at: list[float] = field(default_factory=list)

    def moved_after(self, moment: float) -> bool:
        return bool(self.progress_at) and self.progress_at[-1] > moment

    def take(self, job: dict[str, Any], now: float) -> None:
        status, step = job["status"], int(job["progress"]["step"])
        checked = self.status == "validating_files" != status
        if step > self.step or checked or (status in ENDED and status != self.status):
            self.progress_at.append(now)
        self.revived |= self.status in ENDED and status not in ENDED
        self.status, self.step, self.worker = status, step, job["worker"]
        if status in ENDED:
            self.ends.add((status, job["finished_at"], job["fine_tuned_model"]))
            self.error = None if job["error"] is None else str(job["error"])


class Observer:
    """Times are of the monotonic clock, in seconds."""

    def __init__(self, tenants: Tenants, ended: Callable[[str], None]):
        """`ended` is told of each job that is seen to have ended, at every look."""
        self._tenants, self._tell = tenants, ended
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._jobs: dict[str, Seen] = {}
        self._asked_at: list[float] = []
        #: How often the API did not answer as it should, by what it answered.
        self.failures: dict[str, int] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def jobs(self) -> dict[str, Seen]:
        """By id; what is in them goes on changing."""
        with self._lock:
            return dict(self._jobs)

    def answered_after(self, moment: float) -> float | None:
        """When the first question was asked, after a moment, that the API then answered."""
        with self._lock:
            place = bisect_left(self._asked_at, moment)
            return self._asked_at[place] if place < len(self._asked_at) else None

    def _run(self) -> None:
        with httpx.Client(base_url=self._tenants.cluster.url, timeout=_TIMEOUT_SECONDS) as client:
            while not self._ending.wait(_LOOK_SECONDS):
                asked = time.monotonic()
                answers = [self._look(client, tenant) for tenant in self._tenants.files]
                if all(answers):
                    with self._lock:
                        self._asked_at.append(asked)

    def _look(self, client: httpx.Client, tenant: str) -> bool:
        try:
            answer = client.get(
                "/v1/fine_tuning/jobs?limit=1000", headers=self._tenants.headers(tenant)
            )
        except httpx.HTTPError as error:
            self._count(type(error).__name__)
            return False
        if answer.status_code != 200:
            self._count(str(answer.status_code))
            return False
        now = time.monotonic()
        with self._lock:
            for job in answer.json()["data"]:
                seen = self._jobs.setdefault(job["id"], Seen())
                seen.take(job, now)
                if seen.status in ENDED:
                    self._tell(job["id"])
        return True

    def _count(self, what: str) -> None:
        self.failures[what] = self.failures.get(what, 0) + 1
