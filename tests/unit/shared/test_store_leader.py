"""Which scheduler leads, in every store."""

from __future__ import annotations

import threading

import pytest
from redis import Redis

from pando_shared.clock import FakeClock
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore, keys
from pando_shared.store.stub import StubStore


def test_one_leads_and_the_others_do_not(store: Store) -> None:
    assert store.leader() is None
    assert store.lead("first", 60.0)
    assert not store.lead("second", 60.0)
    assert store.lead("first", 60.0)
    assert store.leader() == "first"


def test_only_the_leader_can_step_down(store: Store) -> None:
    store.step_down("first")
    store.lead("first", 60.0)
    store.step_down("second")
    assert store.leader() == "first"
    store.step_down("first")
    assert store.leader() is None
    assert store.lead("second", 60.0)
    assert not store.lead("first", 60.0)


def test_one_of_many_candidates_wins(store: Store) -> None:
    led: list[str] = []

    def run(candidate: str) -> None:
        if store.lead(candidate, 60.0):
            led.append(candidate)

    threads = [threading.Thread(target=run, args=(f"candidate-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert led == [store.leader()]


def test_leading_ends_with_its_time_unless_renewed(clock: FakeClock) -> None:
    store = StubStore(clock)
    store.lead("first", 5.0)
    clock.advance(4.0)
    store.lead("first", 5.0)
    clock.advance(4.0)
    assert not store.lead("second", 5.0)
    clock.advance(1.0)
    assert store.leader() is None
    assert store.lead("second", 5.0)
    assert not store.lead("first", 5.0)


@pytest.mark.parametrize(("seconds", "longest"), [(5.0, 5000), (0.25, 250), (1e-9, 1)])
def test_leading_in_redis_has_an_end(redis_url: str, seconds: float, longest: int) -> None:
    store = RedisStore(redis_url)
    with Redis.from_url(redis_url) as client:
        for _ in range(2):
            assert store.lead("first", seconds)
            # -2: it has ended by now.
            assert client.pttl(keys.LEADER) in {-2, *range(longest + 1)}
        client.delete(keys.LEADER)
    assert store.lead("second", 60.0)
    store.close()


def test_renewing_in_redis_prolongs(redis_url: str) -> None:
    store = RedisStore(redis_url)
    store.lead("first", 1.0)
    store.lead("first", 60.0)
    with Redis.from_url(redis_url) as client:
        assert client.pttl(keys.LEADER) > 50_000
    assert not store.lead("second", 1.0)
    store.close()
