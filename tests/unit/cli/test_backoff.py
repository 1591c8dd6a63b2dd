from __future__ import annotations

from pando_cli.stack.backoff import FORGIVEN_SECONDS, LONGEST_SECONDS, Backoff


def after(*lives: float) -> Backoff:
    backoff = Backoff()
    for lived in lives:
        backoff = backoff.after_death(lived)
    return backoff


def test_the_first_start_waits_for_nothing() -> None:
    assert Backoff().seconds == 0.0


def test_waits_double() -> None:
    waits = [after(*[0.0] * deaths).seconds for deaths in (1, 2, 3, 4)]
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_waits_have_an_end() -> None:
    assert after(*[0.0] * 5000).seconds == LONGEST_SECONDS


def test_a_long_life_is_a_fresh_start() -> None:
    assert after(0.0, 0.0, 0.0, FORGIVEN_SECONDS).deaths == 1
