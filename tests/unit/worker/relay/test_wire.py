"""Messages of a child reach its parent whole."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pando_worker.relay.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def test_a_text_arrives_with_its_senders_id(wire: Wire) -> None:
    wire.send("one")
    wire.send("two: ü")
    assert [wire.receive(), wire.receive()] == [(os.getpid(), "one"), (os.getpid(), "two: ü")]


def test_metrics_of_a_thousand_jobs_fit(wire: Wire) -> None:
    lines = (
        f'pando_job_{name}{{job_id="ftjob-{i * 7919:024x}"}} {1 / (i + 1)}\n'
        for i in range(1000)
        for name in ("loss", "learning_rate", "step", "total_steps", "tokens", "bytes")
    )
    text = "".join(lines)
    wire.send(text)
    assert wire.receive()[1] == text


def test_a_child_never_waits_for_a_parent_that_takes_nothing(wire: Wire) -> None:
    def fill() -> None:
        for _ in range(10_000):
            wire.send("x")

    with pytest.raises(BlockingIOError):
        fill()


def test_a_child_hears_that_its_parent_is_no_more(wire: Wire) -> None:
    wire.only_send()
    with pytest.raises(ConnectionRefusedError):
        wire.send("x")
