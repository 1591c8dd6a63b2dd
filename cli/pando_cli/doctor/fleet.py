"""Workers that report, and a scheduler that leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.rendering import human_seconds
from pando_shared.fleet import is_alive
from pando_shared.settings import Settings
from pando_shared.store import WorkerStore

WORKERS, SCHEDULER = "workers", "scheduler"


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """What a worker's last heartbeat says; `age_seconds` is how long ago it came."""

    id: str
    alive: bool
    draining: bool
    age_seconds: float


def signs_in_store(store: WorkerStore, settings: Settings, now: float) -> list[WorkerSign]:
    """`now`: Redis's time, by which workers report."""
    draining = store.draining()
    return [
        WorkerSign(w.id, is_alive(w, settings, now), w.id in draining, now - w.heartbeat_at)
        for w in store.list_workers()
    ]


def signs_of_api(workers: Sequence[Mapping[str, Any]], now: float) -> list[WorkerSign]:
    """Of the entries of /v1/workers."""
    return [
        WorkerSign(
            str(worker["id"]),
            bool(worker["alive"]),
            bool(worker.get("draining")),
            now - float(worker["last_heartbeat_at"]),
        )
        for worker in workers
    ]


def workers(signs: Sequence[WorkerSign]) -> Finding:
    dead = [sign for sign in signs if not sign.alive]
    told = ", ".join(f"{s.id} (silent for {human_seconds(max(0.0, s.age_seconds))})" for s in dead)
    look = "worker-*.log in the home's logs says why it ended"
    if not signs:
        return fail(WORKERS, "none has ever reported", f"Start one (`pando up`); {look}.")
    if len(dead) == len(signs):
        return fail(WORKERS, f"none is alive: {told}", f"Start them again; {look}.")
    alive = [sign for sign in signs if sign.alive]
    found = (
        f"{len(alive)} alive, last heard {max(0.0, max(s.age_seconds for s in alive)):.0f} s ago"
    )
    if dead:
        gone = "`pando forget WORKER` takes one off the list that is gone for good"
        return warn(WORKERS, f"{found}; not alive: {told}", f"Start them again; {look}. {gone}.")
    if all(sign.draining for sign in alive):
        return warn(
            WORKERS, f"{found}, and all are being emptied", "`pando drain WORKER --undo` ends that."
        )
    return ok(WORKERS, found)


def scheduler(leader: str | None) -> Finding:
    if leader is None:
        return fail(
            SCHEDULER,
            "none leads, so that no job starts",
            "Start one (`pando up`); scheduler.log in the home's logs says why it ended.",
        )
    return ok(SCHEDULER, f"{leader} leads")


def unknown_workers(why: str) -> Finding:
    return skipped(WORKERS, why)


def unknown_scheduler(why: str) -> Finding:
    return skipped(SCHEDULER, why)
