"""Celery's own lines about a task name what the task is about, as ours do.

They are logged outside the function that does the work: how it ended, and with which exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from celery import Task
from celery.signals import task_postrun, task_prerun

from pando_shared.log_context import log_context
from pando_shared.store.messages import EXPORT_TASK, PREPARE_TASK, ROUND_TASK


class TaskNames:
    """Between `begin` and `end`, which Celery calls around a task, log lines name its job or its
    round. One at a time: a child of the pool has no more."""

    def __init__(self) -> None:
        self._naming = ExitStack()

    def begin(self, *, task: Task, args: Sequence[str], **_: Any) -> None:
        self._naming.close()
        if task.name in (PREPARE_TASK, EXPORT_TASK):
            self._naming.enter_context(log_context(job_id=args[0]))
        elif task.name == ROUND_TASK:
            self._naming.enter_context(log_context(round_id=args[0]))

    def end(self, **_: Any) -> None:
        self._naming.close()


def name_tasks() -> None:
    """For all tasks of this process and of its children."""
    names = TaskNames()
    task_prerun.connect(names.begin, weak=False)
    task_postrun.connect(names.end, weak=False)
