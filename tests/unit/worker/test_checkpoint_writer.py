"""One checkpoint at a time, told once how it ended."""

from __future__ import annotations

import pytest
from by_hand import ByHand

from pando_worker.checkpoint_writer import CheckpointWriter


@pytest.fixture
def background() -> ByHand:
    by_hand = ByHand()
    by_hand.postpones = True
    return by_hand


@pytest.fixture
def writer(background: ByHand) -> CheckpointWriter:
    return CheckpointWriter(background)


def test_it_is_idle_again_once_the_end_was_taken(writer, background):
    written: list[str] = []
    assert writer.idle
    writer.start("a", lambda: written.append("a"))
    assert not writer.idle
    assert writer.take_ended() is None
    background.run()
    assert not writer.idle
    ended = writer.take_ended()
    assert (ended.job_id, ended.outcome.exception()) == ("a", None)
    assert writer.idle
    assert writer.take_ended() is None
    assert written == ["a"]


def test_a_second_is_refused_meanwhile(writer):
    writer.start("a", lambda: None)
    with pytest.raises(RuntimeError, match="of a is still"):
        writer.start("b", lambda: None)


def test_a_job_waits_for_its_own_only(writer, background):
    writer.start("a", lambda: None)
    assert writer.wait("b") is None
    assert background.waiting == 1
    assert writer.wait("a").job_id == "a"
    assert background.waiting == 0
    assert writer.idle
    assert writer.wait("a") is None


def test_a_failure_is_handed_over(writer):
    def fails() -> None:
        raise OSError("full")

    writer.start("a", fails)
    with pytest.raises(OSError, match="full"):
        writer.wait("a").outcome.result()


def test_its_own_thread_writes_while_the_caller_goes_on():
    writer = CheckpointWriter()
    written: list[int] = []
    for number in range(20):
        writer.start("a", lambda number=number: written.append(number))
        writer.wait("a")
    assert written == list(range(20))
