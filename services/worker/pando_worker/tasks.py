"""The four Celery tasks, and the process-wide state they work on.

The parent of the prefork pool imports this too and must stay light: everything that needs torch
is imported in the child, by `start_training` and the tasks themselves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from multiprocessing import Event
from pathlib import Path
from typing import TYPE_CHECKING

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutting_down
from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector

from pando_shared.catalogue import load_catalogue
from pando_shared.errors import NoDevice, Unavailable
from pando_shared.logs import adopt_libraries_loggers
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import (
    EXPORT_TASK,
    PREPARE_TASK,
    ROUND_TASK,
    SAMPLE_TASK,
    make_celery,
)
from pando_shared.store.redis import RedisStore
from pando_shared.store.redis.clock import RedisClock, time_of
from pando_worker.oom_kills import OomKills, note_killed
from pando_worker.relay import MetricsRelay
from pando_worker.start_anew import answer_or_start_anew, train_or_start_anew
from pando_worker.task_traces import in_trace, trace_children

if TYPE_CHECKING:
    from pando_worker.host import Host
    from pando_worker.prepare import PrepareContext, PrepareMetrics

log = logging.getLogger(__name__)

#: At most this long before an export is tried a second time, then twice as long each time: nobody
#: waits for it, and another site's tool may be away for minutes.
_EXPORT_PAUSE_SECONDS = 30


def training_app(settings: Settings, worker_id: str, relay: MetricsRelay | None = None) -> Celery:
    """The app of a worker that trains: rounds and samples, one at a time, in one child process.

    `relay`: who serves the child's metrics; None: nobody does.
    """
    app = make_celery(settings.redis_url)
    stopping = Event()  # shared with the child, which is forked later
    oom_kills = OomKills()
    hosts: list[Host] = []

    def start(**_: object) -> None:
        if relay is not None:
            relay.join(REGISTRY)
        try:
            hosts.append(_open_training_host(settings, worker_id, stopping.is_set, oom_kills))
        except NoDevice as error:
            log.critical("this process cannot train: %s", error.message)
            os._exit(1)
        except Exception:
            # Celery would log it and keep a child that can do nothing; a new one may do better.
            log.exception("this process cannot train; another takes its place")
            os._exit(1)

    def yield_soon(**_: object) -> None:
        stopping.set()

    def stop(**_: object) -> None:
        from pando_worker.residency import release_all

        for host in hosts:
            release_all(host)
            host.keeper.stop()
            host.store.remove_worker(host.worker.id)

    def train(round_id: str) -> None:
        from pando_worker.round import run_round

        train_or_start_anew(lambda: run_round(hosts[0], round_id))

    def sample(request_json: str) -> None:
        from pando_worker.sampling import run_sample

        answer_or_start_anew(lambda: run_sample(hosts[0], request_json))

    worker_process_init.connect(start, weak=False)
    worker_shutting_down.connect(yield_soon, weak=False)
    worker_process_shutdown.connect(stop, weak=False)
    trace_children(settings, "worker", worker_id)
    app.task(name=ROUND_TASK, shared=False, bind=True)(in_trace(train))
    app.task(name=SAMPLE_TASK, shared=False, bind=True)(in_trace(sample))
    return app


def _open_training_host(
    settings: Settings, worker_id: str, stopping: Callable[[], bool], oom_kills: OomKills
) -> Host:
    clock = RedisClock(time_of(settings.redis_url))
    store = RedisStore(settings.redis_url, clock)
    # Before torch is imported, which takes longer than a lease may last.
    killed = note_killed(store, worker_id) if oom_kills.was_killed() else None

    from pando_worker.engine.device import gpu_uuid, require_device
    from pando_worker.gpu_metrics import watch_gpu
    from pando_worker.host import open_host

    adopt_libraries_loggers()
    require_device(settings.device)
    models = {name: base.path for name, base in load_catalogue(settings.models).items()}
    host = open_host(
        settings,
        store,
        Storage(settings.storage_url),
        clock,
        models,
        worker_id,
        stopping,
    )
    host.worker = replace(host.worker, killed_for_memory=killed)
    if settings.metrics_port is not None and host.device != "cpu":
        watch_gpu(gpu_uuid(host.device), REGISTRY)
    if len(models) == 1:
        _load_early(host, next(iter(models)))
    host.keeper.start()
    return host


def _load_early(host: Host, base: str) -> None:
    """Spare the first job the wait; if it fails, that job tries again and tells its user why."""
    try:
        host.use_base(base)
    except Exception:
        log.exception("base model %s cannot be loaded", base)


def prepare_app(settings: Settings, relay: MetricsRelay | None = None) -> Celery:
    """The app of a worker that prepares data, and writes curves to other tools. No torch here.

    `relay`: who serves the child's metrics; None: nobody does.
    """
    app = make_celery(settings.redis_url)
    registry = CollectorRegistry()

    @cache
    def metrics() -> PrepareMetrics:
        from pando_worker.prepare import PrepareMetrics

        return PrepareMetrics(registry)

    def start(**_: object) -> None:
        metrics()  # at 0 from the start
        if relay is not None:
            ProcessCollector(registry=registry)
            relay.join(registry)

    @cache
    def context() -> PrepareContext:
        from pando_worker.prepare import PrepareContext
        from pando_worker.tokenizer import load_tokenizer

        adopt_libraries_loggers()
        clock = RedisClock(time_of(settings.redis_url))
        return PrepareContext(
            store=RedisStore(settings.redis_url, clock),
            storage=Storage(settings.storage_url),
            clock=clock,
            catalogue=load_catalogue(settings.models),
            tokenizer_of=cache(lambda base: load_tokenizer(Path(base.path))),
            settings=settings,
            metrics=metrics(),
        )

    def prepare(job_id: str) -> None:
        from pando_worker.prepare import prepare_job

        prepare_job(job_id, context())

    def export(job_id: str) -> None:
        from pando_worker.integrations.context import ExportContext
        from pando_worker.integrations.export import export_job

        known = context()
        export_job(job_id, ExportContext(known.store, known.storage, known.clock, known.settings))

    worker_process_init.connect(start, weak=False)
    trace_children(settings, "prepare")
    for name, work, first_pause_seconds in (
        (PREPARE_TASK, prepare, 1),
        (EXPORT_TASK, export, _EXPORT_PAUSE_SECONDS),
    ):
        app.task(
            name=name,
            shared=False,  # else another app of this process would take it for its own
            bind=True,
            autoretry_for=(OSError, Unavailable),
            retry_backoff=first_pause_seconds,
            max_retries=5,
        )(in_trace(work))
    return app
