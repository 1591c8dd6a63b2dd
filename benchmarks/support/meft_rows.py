"""What was found of MEFT jobs whose rows are brought to a device, and its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reporting import table


@dataclass(frozen=True, slots=True)
class Moved:
    """Of one optimizer step, on average: rows (a key and its value are two) that came to the device
    and went from it, and that were found in its cache; passes more than one that layers needed;
    seconds that copies took beside the computation, None if not known."""

    rows_in: float
    rows_out: float
    hits: float
    splits: float
    bytes_in: float
    bytes_out: float
    copy_seconds: float | None

    @property
    def hit_ratio(self) -> float:
        """Hits over all wanted: rows that came in for nothing, or anew, count as wanted."""
        return self.hits / max(1.0, self.hits + self.rows_in)


@dataclass(frozen=True, slots=True)
class Variant:
    """One adapter trained in one way.

    `step_seconds` of each step timed; `peak_bytes` is all that the process took of the device.
    `touched_rows` and `probed_rows` are those, of `all_rows`, that one step's tokens used, and that
    are of experts that they looked into.
    """

    name: str
    keys: int
    experts: int
    parameters: int
    all_rows: int
    tokens_per_step: int = 0
    step_seconds: tuple[float, ...] = ()
    median_seconds: float | None = None
    recompute: str = ""
    peak_bytes: int | None = None
    fits: bool | None = None
    limit_bytes: int | None = None
    moved: Moved | None = None
    hit_ratio: float | None = None
    touched_rows: int | None = None
    probed_rows: int | None = None
    host_bytes: int | None = None
    failure: str | None = None

    @property
    def tokens_per_second(self) -> float | None:
        seconds = self.median_seconds
        return None if seconds is None else self.tokens_per_step / seconds


@dataclass(frozen=True, slots=True)
class Compared:
    """An adapter staged within a limit, against the same adapter otherwise; None: not measured.

    `exposed_seconds`: what a step takes longer than with all rows in the cache.
    """

    keys: int
    of_cached: float | None
    of_resident: float | None
    exposed_seconds: float | None


def compare(variants: Iterable[Variant]) -> list[Compared]:
    seconds: dict[int, dict[str, float | None]] = {}
    for variant in variants:
        seconds.setdefault(variant.keys, {})[variant.name] = variant.median_seconds
    found = []
    for keys, of in seconds.items():
        staged, cached, resident = (of.get(name) for name in ("staged", "cached", "resident"))
        found.append(
            Compared(
                keys,
                None if staged is None or cached is None else cached / staged,
                None if staged is None or resident is None else resident / staged,
                None if staged is None or cached is None else staged - cached,
            )
        )
    return found


def staged_table(variants: Sequence[Variant]) -> str:
    heads = ("adapter", "tok/s", "s/step", "peak GB", "limit GB", "host GB", "copies s")
    return table(
        (*heads, "GB in", "GB out", "hits %", "splits", "touched %", "probed %", "how"),
        (
            (
                f"{v.parameters / 1e6:,.0f} M {v.name}",
                v.tokens_per_second,
                None if v.median_seconds is None else f"{v.median_seconds:.3f}",
                _scaled(v.peak_bytes, 1e-9),
                _scaled(v.limit_bytes, 1e-9),
                _scaled(v.host_bytes, 1e-9),
                v.moved and v.moved.copy_seconds,
                v.moved and v.moved.bytes_in / 1e9,
                v.moved and v.moved.bytes_out / 1e9,
                _scaled(v.hit_ratio, 100),
                v.moved and v.moved.splits,
                _scaled(v.touched_rows, 100 / v.all_rows),
                _scaled(v.probed_rows, 100 / v.all_rows),
                (v.failure or v.recompute)[:60],
            )
            for v in variants
        ),
    )


def compared_table(compared: Sequence[Compared]) -> str:
    return table(
        ("staged, keys a layer", "speed of cached", "speed of resident", "exposed s/step"),
        ((str(c.keys), c.of_cached, c.of_resident, c.exposed_seconds) for c in compared),
    )


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by
