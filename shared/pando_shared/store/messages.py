"""Celery as Pando uses it: a message is a wake-up or a round, never a job (design: queue rules).

Queues: `prepare` for data and for exports to other tools, `worker.<id>` for a worker's rounds,
`worker.<id>.samples` for its samples. Messages go straight to the queue through the default
exchange, which needs no binding in Redis; a Redis that lost everything therefore still routes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError

from pando_shared.errors import Unavailable
from pando_shared.tracing import current_traceparent

PREPARE_TASK = "pando.prepare"
EXPORT_TASK = "pando.export"
ROUND_TASK = "pando.round"
SAMPLE_TASK = "pando.sample"
PREPARE_QUEUE = "prepare"


def round_queue(worker_id: str) -> str:
    return f"worker.{worker_id}"


def sample_queue(worker_id: str) -> str:
    return f"worker.{worker_id}.samples"


def make_celery(redis_url: str) -> Celery:
    """A Celery app under the rules that were measured to lose and repeat nothing.

    Every process must use the same ones: each sweeps the unacknowledged messages by its own
    visibility timeout.
    """
    app = Celery("pando", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_expires=86400,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_create_missing_queues=True,
        task_default_queue=PREPARE_QUEUE,
        task_track_started=True,
        task_publish_retry=True,
        task_publish_retry_policy={
            "max_retries": 10,
            "interval_start": 0.05,
            "interval_step": 0.2,
            "interval_max": 2.0,
        },
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 3600,
            "socket_keepalive": True,
            "socket_timeout": 30,
            "health_check_interval": 25,
            "queue_order_strategy": "priority",
        },
    )
    return app


class Messenger(Protocol):
    """Sends the four kinds of message. All raise Unavailable if the broker is away."""

    def prepare(self, job_id: str) -> None:
        """Have a job's data validated and tokenised."""
        ...

    def export(self, job_id: str) -> None:
        """Have a job's curves written to the tools that it asks for."""
        ...

    def round(self, worker_id: str, round_id: str) -> None:
        """Tell a worker of a round that the store holds."""
        ...

    def sample(self, worker_id: str, request_json: str) -> None:
        """Ask a worker for text; `request_json` is an encoded `SampleRequest`."""
        ...


class CeleryMessenger:
    """Sends tasks by name, so that the sender need not import the worker."""

    def __init__(self, celery: Celery):
        self._celery = celery

    def prepare(self, job_id: str) -> None:
        self._send(PREPARE_TASK, PREPARE_QUEUE, job_id)

    def export(self, job_id: str) -> None:
        self._send(EXPORT_TASK, PREPARE_QUEUE, job_id)

    def round(self, worker_id: str, round_id: str) -> None:
        self._send(ROUND_TASK, round_queue(worker_id), round_id)

    def sample(self, worker_id: str, request_json: str) -> None:
        self._send(SAMPLE_TASK, sample_queue(worker_id), request_json)

    def _send(self, task: str, queue: str, argument: str) -> None:
        traceparent = current_traceparent()
        try:
            self._celery.send_task(
                task,
                args=(argument,),
                queue=queue,
                exchange="",
                routing_key=queue,
                declare=[],  # else Celery writes a binding first
                headers=None if traceparent is None else {"traceparent": traceparent},
            )
        except OperationalError as error:
            raise Unavailable(f"the message broker is not available: {error}") from error


@dataclass
class StubMessenger:
    """Remembers what was sent."""

    prepared: list[str] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    rounds: list[tuple[str, str]] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)

    def prepare(self, job_id: str) -> None:
        self.prepared.append(job_id)

    def export(self, job_id: str) -> None:
        self.exported.append(job_id)

    def round(self, worker_id: str, round_id: str) -> None:
        self.rounds.append((worker_id, round_id))

    def sample(self, worker_id: str, request_json: str) -> None:
        self.samples.append((worker_id, request_json))
