"""A bucket of requests in every store: it empties, fills evenly, and never overflows."""

from __future__ import annotations

import pytest

from pando_shared.store import Store
from pando_shared.store.login_slots import LOGIN_SLOTS, login_slot
from pando_shared.store.redis import RedisStore


def test_a_minutes_worth_at_once_then_evenly(store: Store) -> None:
    assert [store.take_request("acme", 3, 100.0).taken for _ in range(4)] == [True] * 3 + [False]
    early = store.take_request("acme", 3, 119.0)
    assert not early.taken
    assert early.left == pytest.approx(19 * 3 / 60)
    assert store.take_request("acme", 3, 120.5).taken
    assert not store.take_request("acme", 3, 120.5).taken


def test_no_more_than_a_minutes_worth_is_kept(store: Store) -> None:
    store.take_request("acme", 3, 0.0)
    assert store.take_request("acme", 3, 1e6).left == 2.0


def test_tenants_have_their_own_and_a_clock_that_lags_gives_nothing(store: Store) -> None:
    assert store.take_request("acme", 1, 100.0).taken
    assert store.take_request("globex", 1, 100.0).taken
    assert not store.take_request("acme", 1, 10.0).taken
    assert not store.take_request("acme", 1, 130.0).taken


def test_a_lower_limit_holds_at_once(store: Store) -> None:
    store.take_request("acme", 100, 0.0)
    assert store.take_request("acme", 2, 0.0).left == 1.0


def test_asking_what_is_left_takes_nothing(store: Store) -> None:
    assert store.requests_left("acme", 3, 100.0) == 3.0
    store.take_request("acme", 3, 100.0)
    for _ in range(2):
        assert store.requests_left("acme", 3, 110.0) == pytest.approx(2.5)
    assert store.requests_left("acme", 2, 1000.0) == 2.0
    assert store.requests_left("acme", 3, 10.0) == 2.0


def test_wrong_keys_of_an_address_are_counted_apart_from_requests(store: Store) -> None:
    assert [store.take_failed_login("192.0.2.1", 2, 0.0).taken for _ in range(3)] == [
        *(True, True, False)
    ]
    assert store.take_failed_login("192.0.2.2", 2, 0.0).left == 1.0
    assert store.take_request("192.0.2.1", 2, 0.0).left == 1.0
    assert store.take_failed_login("192.0.2.1", 2, 30.0).taken


def test_however_many_addresses_come_few_counts_are_kept(redis_url: str) -> None:
    store = RedisStore(redis_url)
    slots = {login_slot(f"198.51.{number // 256}.{number % 256}") for number in range(20_000)}
    assert max(slots) < LOGIN_SLOTS
    assert len(slots) > 15_000  # spread evenly, all but few have one of their own
    for number in range(50):
        store.take_failed_login(f"192.0.2.{number}", 20, 0.0)
    redis = store._redis
    names = list(redis.scan_iter("pando:failed_logins:*"))
    assert 45 <= len(names) <= 50
    assert all(0 < redis.ttl(name) <= 120 for name in names)
    store.close()
