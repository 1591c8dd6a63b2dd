"""`pando forget` over a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from time import time

import pytest
from factories import EPOCH_START, make_worker
from fake_service import Pando

from pando_shared.store.redis import RedisStore


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """Two workers: `gone` was last heard of long ago, `here` a moment ago."""
    store = RedisStore(redis_url)
    store.put_worker(make_worker("gone", heartbeat_at=EPOCH_START))
    store.put_worker(make_worker("here", heartbeat_at=time()))
    yield store
    store.close()


def listed(store: RedisStore) -> list[str]:
    return [worker.id for worker in store.list_workers()]


def test_a_worker_that_is_gone_is_listed_no_more(operator: Pando, store: RedisStore) -> None:
    store.set_draining("gone", 5.0)
    store.set_draining("here", 6.0)
    assert operator("forget", "gone", "--json").json == {"worker": "gone"}
    assert listed(store) == ["here"]
    assert store.draining() == {"here": 6.0}


def test_one_that_is_alive_stays_and_the_way_to_stop_it_is_told(
    operator: Pando, store: RedisStore
) -> None:
    done = operator("forget", "here")
    assert done.code == 1
    assert "here is alive" in done.err
    assert "pando drain here --wait" in done.err
    assert listed(store) == ["gone", "here"]


def test_the_mark_of_one_that_went_away_drained_is_forgotten(
    operator: Pando, store: RedisStore
) -> None:
    store.set_draining("left", 5.0)
    assert operator("forget", "left").out == "left is forgotten\n"
    assert store.draining() == {}


def test_an_unknown_worker_is_refused_with_those_known(operator: Pando, store: RedisStore) -> None:
    done = operator("forget", "w3")
    assert done.code == 2
    assert "there is no worker w3" in done.err
    assert "Known are: gone, here." in done.err
    assert listed(store) == ["gone", "here"]


@pytest.mark.usefixtures("redis_url")
def test_without_workers(operator: Pando) -> None:
    done = operator("forget", "w1")
    assert done.code == 2
    assert "No worker has reported yet." in done.err
