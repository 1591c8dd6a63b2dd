"""Jobs that have told of steps, for what is written to other tools."""

from __future__ import annotations

from collections.abc import Callable

from pando_shared.integrations import Integration
from pando_shared.jobs import Job
from pando_shared.records import Event

JobWith = Callable[[Integration], Job]


def told(step: int, **values: float) -> Event:
    """The metrics event of a step, told at 100 s and as many more."""
    return Event(100.0 + step, "x", type="metrics", data={"step": step, **values})
