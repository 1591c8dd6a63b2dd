"""What Prometheus reads of Redis itself, so that it needs no exporter beside Pando."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from pando_shared.errors import Unavailable
from pando_shared.store.messages import PREPARE_QUEUE, round_queue, sample_queue

#: Prometheus asks again soon; a scrape must not wait for a Redis that is away.
_TIMEOUT_SECONDS = 2.0


def watch_redis(url: str, workers: Callable[[], list[str]], registry: CollectorRegistry) -> None:
    """Have Redis's own numbers in a registry; `workers`: ids of those whose queues are shown."""
    redis = Redis.from_url(
        url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, retry=None
    )
    registry.register(ServerMetrics(redis, workers))


class ServerMetrics(Collector):
    """Asks Redis whenever Prometheus asks. A Redis that does not answer has no series."""

    def __init__(self, redis: Redis, workers: Callable[[], list[str]]):
        self._redis, self._workers = redis, workers

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            info = self._redis.info()
            depths = self._depths()
        except (RedisError, Unavailable):
            return
        yield GaugeMetricFamily(
            "pando_redis_memory_bytes", "Memory that Redis uses", value=info["used_memory"]
        )
        yield GaugeMetricFamily(
            "pando_redis_max_memory_bytes",
            "Memory that Redis may use; 0: there is no limit",
            value=info["maxmemory"],
        )
        yield CounterMetricFamily(
            "pando_redis_evicted_keys",
            "Keys that Redis threw away for want of memory; must stay 0",
            value=info["evicted_keys"],
        )
        queues = GaugeMetricFamily(
            "pando_queue_messages",
            "Messages that no worker has taken yet: prepare, rounds or samples",
            labels=["queue"],
        )
        for queue, depth in depths.items():
            queues.add_metric([queue], depth)
        yield queues

    def _depths(self) -> dict[str, int]:
        workers = self._workers()
        of_queue = {
            "prepare": [PREPARE_QUEUE],
            "rounds": [round_queue(worker) for worker in workers],
            "samples": [sample_queue(worker) for worker in workers],
        }
        with self._redis.pipeline(transaction=False) as pipe:
            for names in of_queue.values():
                for name in names:
                    pipe.llen(name)
            lengths = iter(pipe.execute())
        return {queue: sum(next(lengths) for _ in names) for queue, names in of_queue.items()}
