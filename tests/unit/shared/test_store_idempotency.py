"""A store knows the job that a create with a key made, for as long as it honours the key."""

from __future__ import annotations

from factories import make_job

from pando_shared.clock import FakeClock
from pando_shared.store import Store
from pando_shared.store.stub import StubStore


def test_the_job_of_a_key_is_found_by_its_tenant(store: Store) -> None:
    assert store.job_created_with("acme", "once") is None
    job = store.create_job(make_job(tenant="acme"), "once")
    assert store.job_created_with("acme", "once") == job
    assert store.job_created_with("acme", "twice") is None
    assert store.job_created_with("globex", "once") is None
    store.create_job(make_job(tenant="acme"))
    assert store.create_job(make_job(tenant="acme"), "once") == job


def test_a_key_is_forgotten_after_a_day(clock: FakeClock) -> None:
    store = StubStore(clock)
    job = store.create_job(make_job(tenant="acme"), "once")
    clock.advance(24 * 3600 - 1)
    assert store.job_created_with("acme", "once") == job
    clock.advance(1)
    assert store.job_created_with("acme", "once") is None
    assert store.create_job(other := make_job(tenant="acme"), "once") == other
