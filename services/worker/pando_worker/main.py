"""`pando-worker`: a process that trains adapters, or with --prepare one that prepares data."""

from __future__ import annotations

import argparse
import logging
import os
import re
import socket

from billiard.util import get_logger as pool_logger
from celery import Celery
from celery.signals import setup_logging

from pando_shared.logs import set_up_logging
from pando_shared.read_settings import read_settings
from pando_shared.settings import Settings
from pando_shared.store.messages import PREPARE_QUEUE, round_queue, sample_queue
from pando_shared.trace_setup import require_trace_packages
from pando_worker.every_gpu import run_every_gpu
from pando_worker.relay import MetricsRelay
from pando_worker.task_log import name_tasks
from pando_worker.tasks import prepare_app, training_app


def main() -> None:
    """Run until SIGTERM or SIGINT. Configured by `PANDO_*` environment variables."""
    parser = argparse.ArgumentParser(prog="pando-worker", description=__doc__)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--prepare", action="store_true", help="prepare data instead of training")
    kinds.add_argument(
        "--every-gpu",
        action="store_true",
        help="a worker on each GPU of this machine, or one on its CPU if it has none",
    )
    arguments = parser.parse_args()
    settings = read_settings()
    require_trace_packages(settings)
    if arguments.every_gpu:
        set_up_logging(settings, "worker")
        raise SystemExit(run_every_gpu(settings.metrics_port))
    if arguments.prepare:
        set_up_logging(settings, "prepare")
        name = f"prepare-{socket.gethostname()}-{os.getpid()}"
        _serve(prepare_app(settings, _relay("prepare", settings)), name, PREPARE_QUEUE)
        return
    worker_id = settings.worker_id or default_worker_id(settings.device)
    set_up_logging(settings, "worker", worker_id)
    queues = f"{sample_queue(worker_id)},{round_queue(worker_id)}"  # samples first
    _serve(training_app(settings, worker_id, _relay("worker", settings)), worker_id, queues)


def _relay(service: str, settings: Settings) -> MetricsRelay | None:
    """Serves the metrics of the children that this process will have, if it is to serve any."""
    if settings.metrics_port is None:
        return None
    relay = MetricsRelay(service)
    try:
        relay.serve(settings.metrics_port, settings.host)
    except OSError as error:
        raise SystemExit(
            f"cannot serve metrics on {settings.host}:{settings.metrics_port}: {error}; set "
            "PANDO_METRICS_PORT to a port that is free"
        ) from None
    return relay


def default_worker_id(device: str | None) -> str:
    """Host and device, so that a worker that starts again takes up its own queue."""
    name = f"{socket.gethostname()}-{device or 'auto'}"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def _keep_logging(**_: object) -> None:
    """Celery sets up no logging of its own where this is connected."""
    logger = pool_logger()
    logger.propagate = True
    logger.setLevel("ERROR")  # else it tells of each process's comings and goings
    # That a task has come, before anything knows of what; how it ended is told with its job.
    logging.getLogger("celery.worker.strategy").setLevel("WARNING")


def _serve(app: Celery, name: str, queues: str) -> None:
    # One child, which lives across tasks and holds the base model, which may take long to load.
    app.conf.worker_proc_alive_timeout = 600
    setup_logging.connect(_keep_logging, weak=False)
    name_tasks()
    app.worker_main(
        [
            "--quiet",  # no banner, which is no log
            "worker",
            "--pool=prefork",
            "--concurrency=1",
            f"--hostname={name}@{socket.gethostname()}",
            f"--queues={queues}",
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    main()
