"""`pando forget`: a worker that never comes back is no longer listed, nor alarmed about."""

from __future__ import annotations

from typing import Annotated

import typer

from pando_cli.connection import HomeOption, JsonOption
from pando_cli.errors import CliError, UsageError
from pando_cli.home import Home
from pando_cli.operator_access import connect
from pando_cli.output import Output
from pando_shared.fleet import is_alive
from pando_shared.settings import Settings


def forget(
    worker: Annotated[
        str, typer.Argument(metavar="WORKER", help="Its id, as `pando workers` has it")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a worker that is gone for good off the list.

    A worker that is told to stop takes itself off. One whose machine was lost stays listed, and
    its alert rings, until it comes back or is forgotten. Its jobs go on elsewhere in any case. If
    it was being drained, that is forgotten too.

    With --json: {"worker"}. Exit code 1 if the worker is alive.

    Example:

        pando forget gpu-3
    """
    backend = connect(Home.locate(home))
    store, output = backend.store, Output(as_json)
    known = {each.id: each for each in store.list_workers()}
    marked = store.draining().keys()
    if worker not in known.keys() | marked:
        names = ", ".join(sorted(known.keys() | marked))
        hint = f"Known are: {names}." if names else "No worker has reported yet."
        raise UsageError(f"there is no worker {worker}", hint=hint)
    if worker in known and is_alive(known[worker], Settings(), backend.redis_time()):
        raise CliError(
            f"{worker} is alive", hint=f"Empty it with `pando drain {worker} --wait`, and stop it."
        )
    store.set_draining(worker, None)
    store.remove_worker(worker)
    output.result({"worker": worker}, f"{worker} is forgotten")
