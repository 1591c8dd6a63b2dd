"""A worker on every GPU of this machine: one process each, which come and go together."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from pando_shared.devices import devices

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


def run_every_gpu(metrics_port: int | None) -> int:
    """Run `pando-worker` once for each GPU, or once on the CPU, until all have ended.

    The first that ends takes the others along: whoever restarts this process (systemd, Docker)
    then has all of them again, and none is missed for long. Their jobs go on from checkpoints.

    Returns:
        Exit status: 0 if we were told to stop, else that of the first that ended.
    """
    workers: list[subprocess.Popen[bytes]] = []
    told = False

    def stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal told
        told = True

    # Before any is started: a signal that came in between would leave it behind.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for own in environments(devices("auto"), metrics_port):
        command = [sys.executable, "-m", "pando_worker.main"]
        # Of a session of its own: Ctrl-C reaches us alone, and we tell them once.
        workers.append(subprocess.Popen(command, env={**os.environ, **own}, start_new_session=True))
    while not told and all(worker.poll() is None for worker in workers):
        time.sleep(_LOOK_SECONDS)
    statuses = [worker.poll() for worker in workers]
    if not told:
        log.error("a worker has ended by itself (%s); the others follow it", statuses)
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        worker.wait()
    return 0 if told else next(status for status in statuses if status is not None) or 1


def environments(found: Sequence[str], metrics_port: int | None) -> list[dict[str, str]]:
    """What each worker's environment has beside ours; metrics are on `metrics_port` and up."""
    return [_environment(index, device, metrics_port) for index, device in enumerate(found)]


def _environment(index: int, device: str, metrics_port: int | None) -> dict[str, str]:
    port = {} if metrics_port is None else {"PANDO_METRICS_PORT": str(metrics_port + index)}
    # An id given for all of them would be none: each takes its own, of host and device.
    return {"PANDO_DEVICE": device, "PANDO_WORKER_ID": "", **port}
