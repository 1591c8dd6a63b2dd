"""Who takes messages now: the processes themselves are asked, through the broker."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import OperationalError

from pando_shared.errors import Unavailable
from pando_shared.store.messages import PREPARE_QUEUE


def who_prepares(celery: Celery, seconds: float) -> list[str]:
    """Names of the processes that take jobs' data to prepare, sorted; asking takes `seconds`.

    One that has stopped does not answer, however well its connection looks.

    Raises:
        Unavailable: the broker is away.
    """
    try:
        answers = celery.control.inspect(timeout=seconds).active_queues() or {}
    except OperationalError as error:
        raise Unavailable(f"the message broker is not available: {error}") from error
    return sorted(
        name.partition("@")[0]
        for name, queues in answers.items()
        if any(queue["name"] == PREPARE_QUEUE for queue in queues)
    )
