"""When a process that trains must end, so that another takes its place."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import NoReturn

from pando_shared.errors import PandoError
from pando_shared.trace_setup import stop_traces

log = logging.getLogger(__name__)


def train_or_start_anew(work: Callable[[], None]) -> None:
    """Carry out a round; a fault that nobody foresaw ends the process.

    Its jobs go on from their checkpoints, and the scheduler counts it against them as the loss of
    a worker: whichever of them brings it about each time is told apart and ended. A process that
    lived on would hold its leases and fail each round the same way, for good.

    Raises:
        PandoError: what was foreseen, such as a store that is away.
    """
    try:
        work()
    except PandoError:
        raise
    except Exception:
        log.exception("a round failed in a way nobody foresaw")
        _end()


def answer_or_start_anew(work: Callable[[], None]) -> None:
    """Generate text; only a fault that leaves the GPU unusable ends the process.

    After a fault in a kernel every later call fails. Any other concerns whoever asked alone.
    """
    from pando_worker.engine.device import is_usable

    try:
        work()
    except RuntimeError:
        if not is_usable():
            log.exception("the GPU is unusable")
            _end()
        raise


def _end() -> NoReturn:
    log.warning("another process takes this one's place")
    stop_traces()
    os._exit(1)
