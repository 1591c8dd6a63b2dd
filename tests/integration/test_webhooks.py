"""Webhooks as they are used: an API process over a real Redis, and the receiver of the docs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, serving
from factories import make_job
from openai import OpenAI
from webhook_receiver import receiving

from pando_shared.api_keys import new_api_key
from pando_shared.jobs import JobState
from pando_shared.store.redis import RedisStore

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()
ENDED: Any = [f"fine_tuning.job.{end}" for end in ("succeeded", "failed", "cancelled")]


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    opened = RedisStore(redis_url)
    yield opened
    opened.close()


@pytest.fixture
def server(redis_url: str, tmp_path: Path) -> Iterator[ApiServer]:
    storage = f"file://{tmp_path}/storage"
    with serving(redis_url, storage, PANDO_WEBHOOK_ALLOW="127.0.0.1/32") as started:
        yield started


@pytest.fixture
def client(server: ApiServer, store: RedisStore) -> OpenAI:
    secret, key = new_api_key("acme", "test", 0.0)
    store.put_key(key)
    return OpenAI(base_url=f"{server.url}/v1", api_key=secret)


def end_a_job(store: RedisStore) -> str:
    job = store.create_job(make_job(tenant="acme"))
    store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    return job.id


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def test_the_stock_client_makes_a_webhook_and_verifies_what_comes(
    client: OpenAI, store: RedisStore
) -> None:
    with receiving(503) as receiver:
        made = client.webhooks.create(name="mine", url=receiver.url, event_types=ENDED)
        assert [each.id for each in client.webhooks.list()] == [made.id]
        assert client.webhooks.event_types.list().data == ENDED
        tested = client.webhooks.test(made.id, event_type=ENDED[0])
        assert tested.status_code == 503
        job_id = end_a_job(store)
        eventually(lambda: len(receiver.received) == 2)
        rotated = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
        end_a_job(store)
        eventually(lambda: len(receiver.received) == 3)
    (_, (headers, body), (later_headers, later_body)) = receiver.received
    event = client.webhooks.unwrap(body, headers, secret=made.signing_secret)
    assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job_id)  # type: ignore[union-attr]
    for secret in (made.signing_secret, rotated.signing_secret):
        client.webhooks.verify_signature(later_body, later_headers, secret=secret)
    assert client.webhooks.delete(made.id).deleted


def test_an_event_that_a_killed_process_had_in_hand_arrives_all_the_same(
    server: ApiServer, client: OpenAI, store: RedisStore
) -> None:
    with receiving() as receiver:
        client.webhooks.create(name="mine", url=receiver.url, event_types=ENDED)
        server.kill()
        job_id = end_a_job(store)
        # As if it had been killed between its claim and the sending.
        assert store.claim_deliveries(time.time(), 1.0, 10)
        server.start()
        eventually(lambda: receiver.received)
        eventually(lambda: store.count_deliveries() == 0)
    assert job_id.encode() in receiver.received[0][1]


@contextmanager
def the_pages_receiver(secret: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The last Python block of docs/webhooks.md, run as it stands there."""
    script = folder / "receiver.py"
    script.write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[-1])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {"WEBHOOK_SECRET": secret, "PORT": port, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        try:
            yield f"http://127.0.0.1:{port}/", running
        finally:
            running.kill()


def test_the_receiver_that_the_page_shows_takes_what_is_sent(
    client: OpenAI, store: RedisStore, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    made = client.webhooks.create(name="page", url=url, event_types=ENDED)
    with the_pages_receiver(made.signing_secret, tmp_path) as (url, receiver):
        client.webhooks.update(made.id, url=url)
        eventually(lambda: _answers(client, made.id), 60)
        job_id = end_a_job(store)
        assert receiver.stdout is not None
        told = [receiver.stdout.readline() for _ in range(2)]
        assert told[-1] == f"fine_tuning.job.cancelled {job_id}\n"


def _answers(client: OpenAI, webhook_id: str) -> bool:
    """Whether the page's receiver has started; it takes the sample event, and says so first."""
    try:
        return client.webhooks.test(webhook_id, event_type=ENDED[0]).status_code == 204
    except Exception:  # not listening yet
        return False
