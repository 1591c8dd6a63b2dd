from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pando_shared.errors import Unavailable
from pando_worker.engine import device
from pando_worker.start_anew import answer_or_start_anew, train_or_start_anew


class Ended(BaseException):
    """Instead of the end of the tests' process."""


@pytest.fixture(autouse=True)
def _exit(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_status: int) -> None:
        raise Ended

    monkeypatch.setattr(os, "_exit", end)


def raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


FAULTS = [
    RuntimeError("value cannot be converted to type float without overflow"),
    KeyError("a layer"),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_round_that_fails_as_nobody_foresaw_ends_the_process(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Ended):
        train_or_start_anew(raising(fault))
    assert caplog.records[0].exc_info is not None


def test_a_store_that_is_away_does_not() -> None:
    with pytest.raises(Unavailable):
        train_or_start_anew(raising(Unavailable("Redis is away")))


def test_nor_does_an_answer_that_fails() -> None:
    with pytest.raises(RuntimeError, match="too long"):
        answer_or_start_anew(raising(RuntimeError("too long")))


def test_an_answer_that_left_the_gpu_unusable_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "is_usable", lambda: False)
    with pytest.raises(Ended):
        answer_or_start_anew(raising(RuntimeError("an illegal memory access")))


def test_what_goes_well_goes_on() -> None:
    done: list[str] = []
    train_or_start_anew(lambda: done.append("round"))
    answer_or_start_anew(lambda: done.append("answer"))
    assert done == ["round", "answer"]
