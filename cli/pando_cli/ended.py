"""Whether a job, a trial or a sweep is over."""

from __future__ import annotations

from pando_cli.api import JsonObject
from pando_shared.jobs import JobState


def ended(found: JsonObject) -> bool:
    """Of a sweep: whether all its trials have ended."""
    return JobState(found["status"]).terminal
