"""`pando drain`: empty a worker without losing a step, as before it is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from time import sleep
from typing import Annotated

import typer

from pando_cli.connection import HomeOption, JsonOption
from pando_cli.errors import CliError, UsageError
from pando_cli.home import Home
from pando_cli.operator_access import connect
from pando_cli.output import Output
from pando_shared.clock import SystemClock
from pando_shared.store import JobStore, Store, WorkerStore

#: Seconds between two looks at what is left on the worker.
POLL_SECONDS = 0.5


def drain(
    worker: Annotated[
        str, typer.Argument(metavar="WORKER", help="Its id, as `pando workers` has it")
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take jobs again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when no job is left on it.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a worker's jobs away, and give it no more.

    Each job writes a checkpoint and goes on from it on another worker. The worker itself keeps
    running, and stays drained if it restarts, until --undo.

    With --json: {"worker", "draining", "since", "jobs"}, `jobs` being those that are still on it.

    Examples:

        pando drain gpu-3 --wait && ssh gpu-3 sudo reboot
        pando drain gpu-3 --undo
    """
    if undo and wait:
        raise UsageError("--undo and --wait do not go together", hint="Leave out one of them.")
    store, output = connect(Home.locate(home)).store, Output(as_json)
    _check_known(store, worker)
    since = None if undo else store.draining().get(worker, SystemClock().now())
    store.set_draining(worker, since)
    left = _jobs_on(store, worker)
    if wait:
        for left in _until_empty(store, worker):
            if left:
                output.note(_to_move(left))
    if undo:
        text = f"{worker} takes jobs again"
    elif left:
        text = f"{worker} takes no more jobs; {_to_move(left)}"
    else:
        text = f"{worker} is empty and takes no more jobs"
    output.result({"worker": worker, "draining": not undo, "since": since, "jobs": left}, text)


def _check_known(store: WorkerStore, worker_id: str) -> None:
    """A worker that was drained and went away is known, too."""
    known = {worker.id for worker in store.list_workers()} | store.draining().keys()
    if worker_id not in known:
        names = ", ".join(sorted(known))
        hint = f"Known are: {names}." if names else "No worker has reported yet."
        raise UsageError(f"there is no worker {worker_id}", hint=hint)


def _until_empty(store: Store, worker_id: str) -> Iterator[list[str]]:
    """The ids of the jobs on the worker whenever they have changed, the last time none.

    Raises:
        CliError: someone let the worker take jobs again.
    """
    told: list[str] | None = None
    empty_looks = 0
    # A scheduler that had not seen the mark may have given the worker one more job.
    while empty_looks < 2:
        if worker_id not in store.draining():
            raise CliError(f"{worker_id} takes jobs again: its draining was undone meanwhile")
        left = _jobs_on(store, worker_id)
        empty_looks = 0 if left else empty_looks + 1
        if left != told:
            yield left
            told = left
        if empty_looks < 2:
            sleep(POLL_SECONDS)


def _jobs_on(store: JobStore, worker_id: str) -> list[str]:
    jobs = store.leased_jobs()
    return [job.id for job in jobs if job.lease is not None and job.lease.worker_id == worker_id]


def _to_move(jobs: list[str]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'} to move"
