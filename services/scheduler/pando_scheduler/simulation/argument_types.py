"""What an argument of the simulator's command line may be; a wrong one is said to argparse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import date

from pando_scheduler.simulation.wish import Wish, parse_wish
from pando_shared.errors import PandoError


def _number(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fits(number):
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
    return number


def positive(text: str) -> float:
    return _number(text, lambda number: 0 < number < math.inf, "a number of more than 0")


def not_negative(text: str) -> float:
    return _number(text, lambda number: 0 <= number < math.inf, "a number of 0 or more")


def share(text: str) -> float:
    return _number(text, lambda number: 0 < number <= 1, "more than 0 and at most 1")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return int(text)


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be YYYY-MM-DD, got {text!r}") from None


def names(text: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in text.split(","))
    if not all(found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"must be different names with commas, got {text!r}")
    return found


def wish(text: str) -> Wish:
    try:
        return parse_wish(text)
    except PandoError as error:
        raise argparse.ArgumentTypeError(error.message) from None
