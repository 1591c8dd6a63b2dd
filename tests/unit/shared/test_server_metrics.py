"""Prometheus reads Redis's memory and the depth of queues without an exporter."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from redis import Redis

from pando_shared.errors import Unavailable
from pando_shared.store.redis.server_metrics import watch_redis


def registry_of(url: str, *workers: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    watch_redis(url, lambda: list(workers), registry)
    return registry


def test_redis_tells_of_its_memory(redis_url: str) -> None:
    registry = registry_of(redis_url)
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 1 << 28)
        try:
            used = registry.get_sample_value("pando_redis_memory_bytes")
            assert registry.get_sample_value("pando_redis_max_memory_bytes") == 1 << 28
        finally:
            redis.config_set("maxmemory", 0)
    assert used is not None
    assert 100_000 < used < 1 << 28
    assert registry.get_sample_value("pando_redis_evicted_keys_total") == 0


def test_the_queues_of_all_workers_are_summed(redis_url: str) -> None:
    registry = registry_of(redis_url, "w1", "w2")
    with Redis.from_url(redis_url) as redis:
        redis.rpush("prepare", "a")
        redis.rpush("worker.w1", "b")
        redis.rpush("worker.w2", "c", "d")
    depth = {
        queue: registry.get_sample_value("pando_queue_messages", {"queue": queue})
        for queue in ("prepare", "rounds", "samples")
    }
    assert depth == {"prepare": 1, "rounds": 3, "samples": 0}


def test_a_redis_that_is_away_has_no_series() -> None:
    assert list(registry_of("redis://127.0.0.1:1/0").collect()) == []


def test_a_store_that_fails_meanwhile_has_none_either(redis_url: str) -> None:
    registry = CollectorRegistry()

    def away() -> list[str]:
        raise Unavailable("Redis is not available")

    watch_redis(redis_url, away, registry)
    assert list(registry.collect()) == []
