"""Processes that take a queue's messages are found by asking them."""

from __future__ import annotations

import pytest
from celery_worker import celery_worker
from redis_process import free_port

from pando_shared.errors import Unavailable
from pando_shared.store.messages import PREPARE_QUEUE, make_celery, round_queue
from pando_shared.store.presence import who_prepares


@pytest.mark.parametrize(
    ("queue", "found"), [(PREPARE_QUEUE, ["prepare-a-1"]), (round_queue("w1"), [])]
)
def test_only_who_takes_that_queue(redis_url: str, queue: str, found: list[str]) -> None:
    with celery_worker(redis_url, "prepare-a-1@a", queue), make_celery(redis_url) as asking:
        assert who_prepares(asking, 0.5) == found


def test_nobody_is_there(redis_url: str) -> None:
    with make_celery(redis_url) as asking:
        assert who_prepares(asking, 0.1) == []


def test_no_broker() -> None:
    with (
        make_celery(f"redis://127.0.0.1:{free_port()}/0") as asking,
        pytest.raises(Unavailable, match="not available"),
    ):
        who_prepares(asking, 0.1)
