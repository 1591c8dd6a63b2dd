"""The keys of a policy file: what each one sets, and which values it may have."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
#: "90s", "1h30m", "1.5h": days, hours, minutes, seconds, each at most once, in this order.
_DURATION = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _UNITS))
_SIZE_UNITS = {
    "B": 1.0,
    **{f"{letter}B": 10.0 ** (3 * power) for power, letter in enumerate("kMGT", start=1)},
    **{f"{letter}iB": 2.0 ** (10 * power) for power, letter in enumerate("KMGT", start=1)},
}
#: "500 MB", "1.5GiB": a number and one of the units.
_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(_SIZE_UNITS)})")
_BARE_KEY = re.compile("[A-Za-z0-9_-]+")
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` gives the number that a TOML value stands for, or raises TypeError or ValueError."""

    words: str
    example: str
    read: Callable[[object], float]


@dataclass(frozen=True, slots=True)
class Key:
    """One key. It sets `field` of a `Policy`, a `ClassPolicy` or a `TenantPolicy`.

    A value lies between `low` and `high`, which count, `low` only unless `above`. `none` is the
    word that stands for None, where None can be meant.
    """

    name: str
    field: str
    kind: Kind
    low: float = 0.0
    high: float = math.inf
    above: bool = False
    none: str | None = None

    def value(self, given: object) -> float | None:
        """What `given`, a TOML value, stands for.

        Raises:
            ValueError: it is not allowed; the text is what would be.
        """
        if self.none is not None and given == self.none:
            return None
        try:
            value = self.kind.read(given)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        too_low = value <= self.low if self.above else value < self.low
        if too_low or math.isinf(value) or not value <= self.high:
            raise ValueError(self.allowed)
        return value

    @property
    def allowed(self) -> str:
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        high = "" if math.isinf(self.high) else f" and at most {self.high:g}"
        word = "" if self.none is None else f', or "{self.none}"'
        return f"{self.kind.words} {low}{high}{self.kind.example}{word}"


def _number(given: object) -> float:
    # TOML's true and false are numbers to Python only.
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError
    return float(given)


def _whole_number(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError
    if given.bit_length() > 63:
        raise ValueError
    return given


def _seconds(given: object) -> float:
    if not isinstance(given, str):
        return _number(given)
    parts = _DURATION.fullmatch(given)
    if parts is None or not given:
        raise ValueError
    counts = zip(parts.groups(), _UNITS.values(), strict=True)
    return sum(float(count or 0) * unit for count, unit in counts)


def _bytes(given: object) -> int:
    if not isinstance(given, str):
        return _whole_number(given)
    parts = _SIZE.fullmatch(given)
    if parts is None:
        raise ValueError
    return _whole_number(round(float(parts[1]) * _SIZE_UNITS[parts[2]]))


NUMBER = Kind("a finite number", "", _number)
WHOLE_NUMBER = Kind("a whole number", "", _whole_number)
DURATION = Kind(
    "a duration", ', such as "90s", "5m", "1h30m", "1d" or a number of seconds', _seconds
)
SIZE = Kind("a size", ', such as "500 MB", "50 GiB" or a number of bytes', _bytes)

SCHEDULING = (
    Key("half_life", "usage_half_life_seconds", DURATION, above=True),
    Key("fairness", "fairness", NUMBER, high=4.0),
    Key("starvation_after", "starvation_seconds", DURATION, above=True),
    Key("reservation_within", "reservation_seconds", DURATION),
    Key("reserved_share", "reserved_share", NUMBER, above=True, high=1.0),
    Key("minimum_run", "minimum_run_seconds", DURATION),
    Key("max_preemptions", "max_preemptions", WHOLE_NUMBER),
    Key("preempt_longer", "preempt_longer", NUMBER, low=1.0, none="never"),
    Key("minimum_gain", "minimum_gain", NUMBER, high=1.0),
)
CLASS = (
    Key("preempt_after", "preempt_after_seconds", DURATION, none="never"),
    Key("max_slowdown", "max_slowdown", NUMBER, low=1.0),
)
TENANT = (
    Key("weight", "weight", NUMBER, above=True),
    Key("guaranteed", "guaranteed", NUMBER),
    Key("limit", "limit", NUMBER, none="unlimited"),
    Key("max_jobs", "max_jobs", WHOLE_NUMBER, none="unlimited"),
    Key("requests_per_minute", "requests_per_minute", WHOLE_NUMBER, low=1, none="unlimited"),
    Key("max_storage", "max_storage_bytes", SIZE, none="unlimited"),
)


def dotted(*names: str) -> str:
    """A key in full, as TOML has it: tenants."a b".weight."""
    return ".".join(name if _BARE_KEY.fullmatch(name) else _quoted(name) for name in names)


def shown(value: object) -> str:
    """A value as an error message has it."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else _shortened(_digits(value))


def _quoted(text: str) -> str:
    # What a terminal would act upon is escaped.
    return json.dumps(_shortened(text), ensure_ascii=not text.isprintable())


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _digits(value: object) -> str:
    # Python refuses to write out an integer of thousands of digits; TOML may have one in hex.
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"a number of {value.bit_length()} bits"
    return str(value)
