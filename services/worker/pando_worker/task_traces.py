"""Tasks as parts of the traces that their messages came from, in a pool's child processes."""

from __future__ import annotations

from collections.abc import Callable

from celery import Task
from celery.signals import worker_process_init, worker_process_shutdown

from pando_shared.settings import Settings
from pando_shared.trace_setup import start_traces, stop_traces
from pando_shared.tracing import continuing


def trace_children(settings: Settings, service: str, worker_id: str | None = None) -> None:
    """Have each child send its own spans, and the last of them when all else is done at its end:
    to be called after what else is to happen then was connected.

    The thread that sends must begin in the child, for none comes along through a fork.
    """

    def start(**_: object) -> None:
        start_traces(settings, service, worker_id)

    def stop(**_: object) -> None:
        stop_traces()

    worker_process_init.connect(start, weak=False)
    worker_process_shutdown.connect(stop, weak=False)


def in_trace(work: Callable[[str], None]) -> Callable[[Task, str], None]:
    """The same work as a bound task, that goes on with its message's trace."""

    def run(task: Task, argument: str) -> None:
        with continuing(task.request.get("traceparent")):
            work(argument)

    return run
