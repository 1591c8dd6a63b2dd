"""A Celery worker within the tests' process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging

from pando_shared.store.messages import make_celery


@contextmanager
def celery_worker(redis_url: str, name: str, queue: str) -> Iterator[None]:
    """One that takes a queue's messages, in a thread of its own, while the block runs."""
    setup_logging.connect(_leave_logging_as_it_is)
    try:
        with start_worker(
            make_celery(redis_url),
            pool="solo",
            hostname=name,
            queues=[queue],
            perform_ping_check=False,
        ):
            yield
    finally:
        setup_logging.disconnect(_leave_logging_as_it_is)


def _leave_logging_as_it_is(**_: Any) -> None:
    """Celery would set the root logger's level, for all tests that come after."""
