"""Messages reach their queue, also through a Redis that has lost everything."""

import base64
import json
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu import pools
from recorded_spans import recording
from redis import Redis
from redis_process import RedisProcess, free_port

from pando_shared.errors import Unavailable
from pando_shared.store.messages import CeleryMessenger, StubMessenger, make_celery
from pando_shared.tracing import span


@pytest.fixture
def celery(redis_url: str) -> Iterator[Celery]:
    yield make_celery(redis_url)
    # kombu keeps connections for the whole process, by URL.
    pools.reset()


def queued(redis_url: str, queue: str) -> list[tuple[str, list[object]]]:
    """Task name and arguments of what lies in a queue, read past kombu."""
    with Redis.from_url(redis_url) as client:
        messages = [json.loads(text) for text in client.lrange(queue, 0, -1)]
    bodies = [base64.b64decode(message["body"]) for message in messages]
    return [
        (message["headers"]["task"], json.loads(body)[0])
        for message, body in zip(messages, bodies, strict=True)
    ]


def test_each_kind_goes_to_its_own_queue(celery: Celery, redis_url: str) -> None:
    messenger = CeleryMessenger(celery)
    messenger.prepare("ftjob-1")
    messenger.export("ftjob-2")
    messenger.round("w1", "round-1")
    messenger.sample("w1", '{"id": "s1"}')
    assert sorted(queued(redis_url, "prepare")) == [
        ("pando.export", ["ftjob-2"]),
        ("pando.prepare", ["ftjob-1"]),
    ]
    assert queued(redis_url, "worker.w1") == [("pando.round", ["round-1"])]
    assert queued(redis_url, "worker.w1.samples") == [("pando.sample", ['{"id": "s1"}'])]


def test_a_message_carries_where_in_a_trace_it_was_sent(celery: Celery, redis_url: str) -> None:
    messenger = CeleryMessenger(celery)
    messenger.round("w1", "round-1")
    with recording(), span("plan round") as planning:
        messenger.round("w1", "round-2")
        sent_in = planning.traceparent
    with Redis.from_url(redis_url) as client:
        newest, oldest = (json.loads(text) for text in client.lrange("worker.w1", 0, -1))
    assert newest["headers"]["traceparent"] == sent_in
    assert "traceparent" not in oldest["headers"]


def test_messages_need_nothing_that_a_flush_takes_away(celery: Celery, redis_url: str) -> None:
    messenger = CeleryMessenger(celery)
    messenger.round("w1", "round-1")
    with Redis.from_url(redis_url) as client:
        client.flushall()
    messenger.round("w1", "round-2")
    assert queued(redis_url, "worker.w1") == [("pando.round", ["round-2"])]


def test_messages_go_out_after_redis_was_killed_and_restarted(
    celery: Celery, redis_url: str, redis_process: RedisProcess
) -> None:
    messenger = CeleryMessenger(celery)
    messenger.round("w1", "round-1")
    redis_process.kill()
    redis_process.start()
    messenger.round("w1", "round-2")
    arguments = [arguments for _, arguments in queued(redis_url, "worker.w1")]
    assert sorted(arguments, key=str) == [["round-1"], ["round-2"]]


def test_a_broker_that_stays_away_is_unavailable() -> None:
    app = make_celery(f"redis://127.0.0.1:{free_port()}/0")
    app.conf.task_publish_retry_policy = {"max_retries": 1, "interval_start": 0}
    with pytest.raises(Unavailable, match="broker"):
        CeleryMessenger(app).prepare("ftjob-1")


def test_the_app_keeps_the_measured_rules() -> None:
    conf = make_celery("redis://localhost/0").conf
    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.task_reject_on_worker_lost
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert conf.broker_transport_options["visibility_timeout"] == 3600
    assert conf.accept_content == ["json"]


def test_the_stub_remembers() -> None:
    messenger = StubMessenger()
    messenger.prepare("ftjob-1")
    messenger.export("ftjob-2")
    messenger.round("w1", "round-1")
    messenger.sample("w1", "{}")
    assert (messenger.prepared, messenger.exported) == (["ftjob-1"], ["ftjob-2"])
    assert messenger.rounds == [("w1", "round-1")]
    assert messenger.samples == [("w1", "{}")]
