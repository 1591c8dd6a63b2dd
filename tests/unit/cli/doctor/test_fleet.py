from __future__ import annotations

from factories import EPOCH_START, make_worker

from pando_cli.doctor.finding import Status
from pando_cli.doctor.fleet import (
    WorkerSign,
    scheduler,
    signs_in_store,
    signs_of_api,
    unknown_scheduler,
    unknown_workers,
    workers,
)
from pando_shared.settings import Settings
from pando_shared.store import Store

NOW = EPOCH_START
SETTINGS = Settings(lease_seconds=15)


def test_all_alive(store: Store) -> None:
    store.put_worker(make_worker("w1", heartbeat_at=NOW - 1))
    store.put_worker(make_worker("w2", heartbeat_at=NOW - 3))
    found = workers(signs_in_store(store, SETTINGS, NOW))
    assert found.status is Status.OK
    assert found.found == "2 alive, last heard 3 s ago"


def test_one_silent(store: Store) -> None:
    store.put_worker(make_worker("w1", heartbeat_at=NOW - 1))
    store.put_worker(make_worker("w2", heartbeat_at=NOW - 95))
    found = workers(signs_in_store(store, SETTINGS, NOW))
    assert found.status is Status.WARN
    assert "w2 (silent for 1m35s)" in found.found
    assert "w1" not in found.found


def test_all_silent(store: Store) -> None:
    store.put_worker(make_worker("w1", heartbeat_at=NOW - 16))
    assert workers(signs_in_store(store, SETTINGS, NOW)).status is Status.FAIL


def test_none_at_all(store: Store) -> None:
    assert workers(signs_in_store(store, SETTINGS, NOW)).status is Status.FAIL


def test_all_being_emptied(store: Store) -> None:
    store.put_worker(make_worker("w1", heartbeat_at=NOW))
    store.set_draining("w1", NOW)
    found = workers(signs_in_store(store, SETTINGS, NOW))
    assert found.status is Status.WARN
    assert "--undo" in found.mend


def test_as_the_api_tells_them() -> None:
    entries = [
        {"id": "w1", "alive": True, "draining": False, "last_heartbeat_at": NOW - 2},
        {"id": "w2", "alive": False, "last_heartbeat_at": NOW - 40},
    ]
    assert signs_of_api(entries, NOW) == [
        WorkerSign("w1", True, False, 2.0),
        WorkerSign("w2", False, False, 40.0),
    ]


def test_a_scheduler_leads(store: Store) -> None:
    assert scheduler(store.leader()).status is Status.FAIL
    store.lead("scheduler-1", 30)
    found = scheduler(store.leader())
    assert found.status is Status.OK
    assert "scheduler-1" in found.found


def test_nobody_to_ask() -> None:
    assert unknown_workers("why").status is Status.SKIPPED
    assert unknown_scheduler("why").status is Status.SKIPPED
