"""Celery's lines about a task name its job or its round, and the next task's lines do not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pando_shared.log_context import log_context, named_ids
from pando_shared.store.messages import EXPORT_TASK, PREPARE_TASK, ROUND_TASK, SAMPLE_TASK
from pando_worker.task_log import TaskNames


@pytest.mark.parametrize(
    ("task", "argument", "named"),
    [
        (PREPARE_TASK, "ftjob-1", {"job_id": "ftjob-1"}),
        (EXPORT_TASK, "ftjob-1", {"job_id": "ftjob-1"}),
        (ROUND_TASK, "round-1", {"round_id": "round-1"}),
        (SAMPLE_TASK, '{"id": "sample-1"}', {}),
    ],
)
def test_what_is_named(task: str, argument: str, named: dict[str, str]) -> None:
    names = TaskNames()
    names.begin(sender=None, task=SimpleNamespace(name=task), args=(argument,), task_id="1")
    assert named_ids() == named
    with log_context(tenant="acme"):
        assert named_ids() == {**named, "tenant": "acme"}
    names.end(sender=None, state="SUCCESS")
    assert named_ids() == {}


def test_an_end_that_never_came_leaves_no_name() -> None:
    names = TaskNames()
    for job_id in ("ftjob-1", "ftjob-2"):
        names.begin(task=SimpleNamespace(name=PREPARE_TASK), args=(job_id,))
        assert named_ids() == {"job_id": job_id}
    names.end()
    assert named_ids() == {}
