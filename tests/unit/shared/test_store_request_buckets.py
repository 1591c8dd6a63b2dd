"""A bucket of requests in every store: it empties, fills evenly, and never overflows."""

from __future__ import annotations

import pytest

from pando_shared.store import Store


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
