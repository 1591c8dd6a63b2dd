"""`pando recover`: what Redis has lost comes back from storage."""

from __future__ import annotations

from dataclasses import asdict

from pando_cli.connection import HomeOption, JsonOption
from pando_cli.home import Home
from pando_cli.operator_access import connect
from pando_cli.output import Output
from pando_cli.rendering import fields_table
from pando_shared.clock import SystemClock
from pando_shared.recovery import recover as recover_from_storage


def recover(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Rebuild a lost Redis from storage: keys, files, models and jobs.

    Safe at any time: what Redis still has is left alone, and no job runs twice. Jobs that ran are
    queued again and go on from their last checkpoint.

    Example:

        pando recover --json
    """
    backend = connect(Home.locate(home))
    report = asdict(recover_from_storage(backend.store, backend.storage, SystemClock().now()))
    rows = [(name, ", ".join(v) if isinstance(v, tuple) else v) for name, v in report.items()]
    Output(as_json).result(report, fields_table([(n, v) for n, v in rows if v != ""]))
