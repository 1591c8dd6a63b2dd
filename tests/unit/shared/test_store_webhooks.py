"""What ends a job puts its events on their way, in the same step; each is claimed by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import make_job

from pando_shared.clock import FakeClock
from pando_shared.errors import NotFound
from pando_shared.jobs import JobState
from pando_shared.store import Store
from pando_shared.webhooks import EVENT_TYPES, Delivery, WebhookEndpoint


def endpoint(name: str = "whep_1", tenant: str = "acme", at: float = 0.0) -> WebhookEndpoint:
    return WebhookEndpoint(name, tenant, "n", "https://e.com", EVENT_TYPES, at, at, "whsec_AAAA")


def end_a_job(store: Store, tenant: str = "acme") -> str:
    job = store.create_job(make_job(tenant=tenant))
    store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    return job.id


def test_endpoints_are_a_tenants_own_and_newest_first(store: Store) -> None:
    for name, tenant, at in (("whep_1", "acme", 1.0), ("whep_2", "acme", 2.0), ("w", "other", 3.0)):
        store.put_endpoint(endpoint(name, tenant, at))
    assert [each.id for each in store.list_endpoints("acme")] == ["whep_2", "whep_1"]
    with pytest.raises(NotFound):
        store.get_endpoint("other", "whep_1")
    changed = store.update_endpoint("acme", "whep_1", lambda known: replace(known, name="new"))
    assert store.get_endpoint("acme", "whep_1") == changed
    store.delete_endpoint("acme", "whep_1")
    for gone in (store.get_endpoint, store.delete_endpoint):
        with pytest.raises(NotFound):
            gone("acme", "whep_1")
    with pytest.raises(NotFound):
        store.update_endpoint("acme", "whep_1", lambda known: known)


def test_a_jobs_end_is_delivered_to_its_tenants_endpoints_once(
    store: Store, clock: FakeClock
) -> None:
    for name, tenant in (("whep_1", "acme"), ("whep_2", "acme"), ("w", "other")):
        store.put_endpoint(endpoint(name, tenant))
    job_id = end_a_job(store)
    store.update_job(job_id, lambda job: replace(job, round_measured_bytes=1))
    claimed = store.claim_deliveries(clock.now(), 60.0, 10)
    assert {(each.endpoint_id, each.job_id) for each in claimed} == {
        ("whep_1", job_id),
        ("whep_2", job_id),
    }
    assert {each.event_type for each in claimed} == {"fine_tuning.job.cancelled"}


def test_without_endpoints_nothing_is_kept(store: Store) -> None:
    end_a_job(store)
    assert store.count_deliveries() == 0


def test_a_claim_holds_until_it_runs_out(store: Store, clock: FakeClock) -> None:
    store.put_endpoint(endpoint())
    end_a_job(store)
    now = clock.now()
    (first,) = store.claim_deliveries(now, 60.0, 10)
    assert store.claim_deliveries(now + 59.0, 60.0, 10) == []
    assert store.claim_deliveries(now + 60.0, 60.0, 10) == [first]


def test_what_is_put_off_comes_back_as_it_was_left(store: Store, clock: FakeClock) -> None:
    store.put_endpoint(endpoint())
    end_a_job(store)
    now = clock.now()
    (claimed,) = store.claim_deliveries(now, 60.0, 10)
    store.put_off_delivery(claimed.tried(), now + 5.0)
    assert store.claim_deliveries(now + 4.9, 60.0, 10) == []
    (again,) = store.claim_deliveries(now + 5.0, 60.0, 10)
    assert again == claimed.tried()
    store.drop_delivery(again.id)
    assert store.count_deliveries() == 0
    assert store.claim_deliveries(now + 1e6, 60.0, 10) == []


def test_the_longest_due_come_first_and_no_more_than_wanted(store: Store, clock: FakeClock) -> None:
    made = [Delivery(f"evt_{i}", "acme", "whep_1", EVENT_TYPES[0], "j", 0.0) for i in range(3)]
    for place, delivery in enumerate(made):
        store.put_off_delivery(delivery, clock.now() - place)
    found = store.claim_deliveries(clock.now(), 60.0, 2)
    assert [each.id for each in found] == ["evt_2", "evt_1"]


def test_a_delivery_knows_its_jobs_place_in_a_trace(store: Store) -> None:
    store.put_endpoint(endpoint())
    job = store.create_job(make_job(traceparent="00-1-1-01"))
    assert store.get_job(job.id).traceparent == "00-1-1-01"
    store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    (delivery,) = store.claim_deliveries(2e9, 60.0, 10)
    assert delivery.traceparent == "00-1-1-01"
