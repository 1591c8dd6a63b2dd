"""The scheduler process."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from prometheus_client import start_http_server

from pando_scheduler.celery_app import make_messenger
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.loop import RETRY_SECONDS, SchedulerLoop, Surroundings
from pando_scheduler.metrics import SchedulerMetrics
from pando_scheduler.rules import Rules
from pando_scheduler.storage_metrics import StorageMetrics
from pando_shared.catalogue import load_catalogue
from pando_shared.clock import Clock
from pando_shared.errors import InvalidPolicy, Unavailable
from pando_shared.logs import set_up_logging
from pando_shared.policy_file import PolicyFile
from pando_shared.read_settings import read_settings
from pando_shared.recovery import is_lost, recover
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.redis.clock import RedisClock, time_of
from pando_shared.store.redis.server_metrics import watch_redis
from pando_shared.trace_setup import traces

log = logging.getLogger(__name__)


def main() -> None:
    """Schedule until SIGTERM or SIGINT."""
    settings = read_settings()
    set_up_logging(settings, "scheduler")
    stop = threading.Event()

    def end(signum: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        with traces(settings, "scheduler"):
            run(settings, stop)
    except InvalidPolicy as error:
        raise SystemExit(error.message) from None


def run(settings: Settings, stop: threading.Event) -> None:
    """Build the scheduler from settings and run it until `stop` is set.

    Raises:
        InvalidPolicy: the policy file is not as it should be; one that is spoilt later is not used.
    """
    clock = RedisClock(time_of(settings.redis_url))
    policy_file = PolicyFile(settings.policy_file)
    policy_file.require()
    store, storage = RedisStore(settings.redis_url, clock), Storage(settings.storage_url)
    metrics = SchedulerMetrics()
    metrics.registry.register(StorageMetrics(storage))
    watch_redis(
        settings.redis_url,
        lambda: [worker.id for worker in store.list_workers()],
        metrics.registry,
    )
    rules = Rules(
        round_seconds=settings.round_seconds,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        memory_headroom=settings.memory_headroom,
    )
    catalogue = load_catalogue(settings.models)

    messenger = make_messenger(settings)
    exports = bool(settings.integrations)
    around = Surroundings(store, storage, messenger, clock, policy_file, exports)
    predict = LearntPredictor(catalogue, settings.memory_headroom)
    loop = SchedulerLoop(around, rules, predict, metrics)
    server = None
    if settings.metrics_port is not None:
        server, _ = start_http_server(
            settings.metrics_port, addr=settings.host, registry=metrics.registry
        )
    try:
        recover_if_lost(store, storage, clock, stop)
        log.info("scheduling for base models: %s", ", ".join(sorted(settings.models)) or "none")
        loop.run(stop)
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
        store.close()
    log.info("stopped")


def recover_if_lost(store: Store, storage: Storage, clock: Clock, stop: threading.Event) -> None:
    """Rebuild Redis from storage if it lacks what storage has; wait for either until then."""
    while not stop.is_set():
        try:
            if is_lost(store, storage):
                log.warning("Redis lacks jobs or keys that storage holds; recovering them")
                log.warning("recovered: %s", recover(store, storage, clock.now()))
        except (Unavailable, OSError) as error:
            log.warning("trying again in %.0f s: %s", RETRY_SECONDS, error)
            stop.wait(RETRY_SECONDS)
        else:
            return
